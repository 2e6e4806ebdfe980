#ifndef TESTS_SCHEMAS_FIXTURE_H
#define TESTS_SCHEMAS_FIXTURE_H

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "tests/test.h"

/* Random records, and comparisons that print what differs. */

/* The codec without a registry. */
struct schemas *fixture_open(enum value_format format);
struct arena *fixture_arena(void);

/* Texts are random bytes of UTF-8, empty at times; everything lies in the arena. */
void fixture_event(struct rng *rng, struct arena *arena, struct event *event);
void fixture_item(struct rng *rng, struct arena *arena, struct item *item);
void fixture_list(struct rng *rng, struct arena *arena, size_t n_items,
                  struct recommendations *list);
void fixture_related(struct rng *rng, struct arena *arena, struct related *related);
void fixture_trending(struct rng *rng, struct arena *arena, struct trending *trending);
void fixture_example(struct rng *rng, struct arena *arena, struct training_example *example);
void fixture_erasure(struct rng *rng, struct arena *arena, struct erasure *erasure);

void fixture_same_event(const struct event *a, const struct event *b);
void fixture_same_item(const struct item *a, const struct item *b);
void fixture_same_list(const struct recommendations *a, const struct recommendations *b);
void fixture_same_related(const struct related *a, const struct related *b);
void fixture_same_trending(const struct trending *a, const struct trending *b);
void fixture_same_example(const struct training_example *a, const struct training_example *b);
void fixture_same_erasure(const struct erasure *a, const struct erasure *b);

/* A schema in short: "user_id 'string'; items {'type':'array',...}" becomes a record E with these fields; what begins
 * with one of {['< stays as it is (less the <). ' is written for the JSON's ". Returns out. */
enum { FIXTURE_SCHEMA_MAX = 4096 };
const char *fixture_schema(const char *text, char out[FIXTURE_SCHEMA_MAX]);

static inline struct str fixture_bytes(const struct buf *buf)
{
    return (struct str){(const char *)buf->data, buf->len};
}

#endif
