#ifndef TESTS_ORACLE_TOPIC_H
#define TESTS_ORACLE_TOPIC_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* A whole topic, read once from its beginning to its end (read_committed), partition by partition, in offset order. */
struct topic_record {
    int32_t partition;
    int64_t offset, timestamp_ms;
    struct str key, value; /* ptr NULL: null; NUL behind the bytes */
    struct str source;     /* header freshet-src, "" when there is none */
    struct str reason;     /* header __connect.errors.exception.class.name, likewise */
    bool is_moved;         /* header freshet-dlq-was: it stood, or stands, before as well */
    bool is_mark;          /* header freshet-dlq-mark */
};

struct topic {
    struct topic_record *records; /* (n) */
    int n;
    int partitions;
};

MUST_USE bool topic_read(struct topic *topic, const char *bootstrap, const char *name,
                         struct err *err);
/* The offsets that the group has committed, next (partitions); -1 none. */
MUST_USE bool topic_committed(const char *bootstrap, const char *group, const char *name,
                              int partitions, int64_t *next, struct err *err);
void topic_free(struct topic *topic);

#endif
