#ifndef APP_DEMO_FEED_H
#define APP_DEMO_FEED_H

#include "app/settings.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* The demo's shop: its past as a log to learn from, then its catalogue and its present as events into Kafka, at a steady rate,
 * from a thread of its own. A seed makes one shop: the past of every run is the same, the present begins behind it. */
struct demo_feed;

struct demo_feed_options {
    uint64_t seed;
    int users, items;
    int64_t past_events;      /* what the model learns from */
    double events_per_second; /* of the present */
};

struct demo_feed *demo_feed_new(const struct demo_feed_options *options);
/* Lives through the past; views go to `log` (sessions format) when it is not NULL. Errors: ERR_FATAL, the file. */
MUST_USE bool demo_feed_past(struct demo_feed *feed, const char *log, struct err *err);
/* Starts the present. The schemas are borrowed until demo_feed_stop. */
MUST_USE bool demo_feed_start(struct demo_feed *feed, const struct settings *settings,
                              struct schemas *schemas, struct err *err);
/* Copies the title of a product; "" when unknown. Any thread. */
void demo_feed_title(struct demo_feed *feed, struct str item_id, char *out, size_t size);
/* false: the feed has ended by an error. */
bool demo_feed_is_running(struct demo_feed *feed, struct err *err);
/* Stops the present, if it was started. */
void demo_feed_stop(struct demo_feed *feed);
/* The same, and frees. NULL is fine. */
void demo_feed_free(struct demo_feed *feed);

#endif
