#ifndef APP_TAP_H
#define APP_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/schemas.h"

/* Copies of published lists for someone who looks on (the demo's view). A copy that finds no room is dropped: looking on never
 * slows the pipeline. Any shard puts, one thread takes. */
enum { TAP_LIST = 8, TAP_TEXT = 64 };

struct tap_list {
    char user[TAP_TEXT];
    char item[TAP_TEXT]; /* first item of the triggering event, "" when it has none */
    char query[TAP_TEXT];
    enum event_type type;
    int64_t event_time_ms;
    int64_t published_ms; /* wall clock */
    int64_t record_ms;    /* the record's timestamp */
    int n;
    char list[TAP_LIST][TAP_TEXT]; /* item ids, best first */
};

struct tap;
struct tap *tap_new(int capacity);
void tap_free(struct tap *tap);
void tap_put(struct tap *tap, const struct tap_list *list);
/* false when there is none. */
bool tap_take(struct tap *tap, struct tap_list *list);

#endif
