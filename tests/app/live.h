#ifndef TESTS_APP_LIVE_H
#define TESTS_APP_LIVE_H

#include "app/metrics.h"
#include "app/pipeline.h"
#include "model/model.h"
#include "tests/test.h"

/* A shop on the in-process broker: its events topic, models in its folder, lives of the pipeline, lists read back. One shop a
 * test; everything fails the test by itself. */

enum { LIVE_PARTITIONS = 2, LIVE_USERS = 40, LIVE_ITEMS = 300, LIVE_WAIT_MS = 240000 };

struct live_shop {
    struct kafka_embedded *broker; /* NULL: another one, which live_options is then told of */
    struct schemas *schemas;
    char folder[64], model[96]; /* <folder>/model */
    uint64_t sent;              /* events so far */
};

extern struct live_shop live_shop;

/* Starts broker and topics (freshet.events, shop.events, shop.items, solo.events of one partition, lists-a to lists-h, related-a and the
 * pairs of an application `related`), puts the first model. */
void live_open(void);
void live_close(void);
/* Writes a random model to <folder>/<name>, with a random ranker when it ranks; its version is its seed. */
void live_model_put(const char *name, const struct model_config *config, uint64_t seed, bool ranks);
void live_lru_put(const char *name, int D, int H, int L, uint64_t seed, bool ranks);
/* n views, carts and orders of random items by random users. */
void live_events_send(int n, uint64_t seed);

/* The configuration of an application with that name, lists topic and batch.max.events. */
struct options *live_options(const char *name, const char *lists, const char *batch);
void live_set(struct options *options, const char *name, const char *value);
void live_model_set(struct options *options, const char *name);

/* Turns the pipeline until it has read so many records. */
void live_until(struct pipeline *pipeline, uint64_t records);
/* What it has counted so far, all labels together. */
int64_t live_count(struct pipeline *pipeline, enum metric metric);
/* One life of a pipeline: reads `records` and closes. Takes the options. Returns what it counted in the end of `metric`. */
int64_t live_run(struct options *options, uint64_t records, enum metric metric);
void live_plain(const char *name, const char *lists, const char *batch, uint64_t records);

struct live_list {
    char source[64]; /* header freshet-src */
    char key[64];
    int64_t offset;
    size_t len;
    uint8_t value[2048];
};

/* All records of a lists topic, sorted by where they come from; (returned count) freed by mem_free. */
int live_lists_read(const char *topic, struct live_list **out);
/* The two topics hold the same lists of the same events. */
void live_lists_compare(const char *a, const char *b);

#endif
