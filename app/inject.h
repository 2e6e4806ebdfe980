#ifndef APP_INJECT_H
#define APP_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "schemas/schemas.h"

/* Faults at the level of messages, for tests (RELIABILITY 4.2, S24 and S25): records sent twice,
 * late, from the future, or poisoned, deterministic by seed. Sits between an event and its topic.
 * Thread: one owner. */

enum inject_poison {
    INJECT_BAD_MAGIC,      /* first byte is not 0 */
    INJECT_UNKNOWN_SCHEMA, /* schema id that nobody has */
    INJECT_TRUNCATED,      /* the second half is missing */
    INJECT_HUGE_LENGTH,    /* a string that claims 2 GiB */
    INJECT_BAD_ENUM,       /* event type number 63 */
    INJECT_WRONG_TYPE,     /* an Item instead of an Event */
    INJECT_LONG_STRING,    /* a query of 900,000 bytes; every second one of 70,000 */
    INJECT_GARBAGE,        /* random bytes */
    INJECT_EMPTY,          /* null value */
    INJECT_TRAILING,       /* bytes behind the record */
    INJECT_NO_USER,        /* decodes, but names nobody */
    INJECT_NO_ITEMS,       /* decodes, but a view of nothing */
    INJECT_BAD_ID,         /* decodes, but the item id holds a control character */
    INJECT_POISON_COUNT,
};
const char *inject_poison_name(enum inject_poison kind); /* "bad_magic"; static */

struct inject_options {
    uint64_t seed;
    double duplicates; /* share of the events whose record is sent again, up to 300 records later */
    double late;       /* share that is held back for up to 300 records */
    double future;     /* share whose event time is a day ahead */
    double poison;     /* bad records beside the good ones, as a share of them */
};

/* Where records go. mark: see app/sink.h; static. value.ptr NULL: null value. */
struct inject_target {
    void *context;
    bool (*send)(void *context, struct str key, struct str value, int64_t timestamp_ms,
                 const char *mark, struct err *err);
};

struct inject_counts {
    uint64_t duplicates, late, future;
    uint64_t poison[INJECT_POISON_COUNT];
};

struct inject;

/* json: values are JSON instead of framed Avro; the kinds that need Avro become garbage. schemas is
 * borrowed. */
struct inject *inject_new(const struct inject_options *options, struct schemas *schemas, bool json,
                          struct inject_target target);
/* What was held back is dropped: inject_flush comes first. NULL is fine. */
void inject_free(struct inject *inject);
/* Sends the event's record, or holds it, and what else is due. */
MUST_USE bool inject_event(struct inject *inject, const struct event *event, struct str key,
                           int64_t timestamp_ms, struct err *err);
/* Sends all that is held back. */
MUST_USE bool inject_flush(struct inject *inject, struct err *err);
struct inject_counts inject_counts(const struct inject *inject);

#endif
