#ifndef EMIT_COPY_H
#define EMIT_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "kafka/kafka.h"

/* A producer for records that were read elsewhere and go on as they are: key, value, timestamp and the first headers byte for
 * byte, in the partition of the caller's choice. For dead letters on their way back, and those that stay when others go. Thread: one. */
struct emit_copier;

struct emit_header {
    const char *name; /* NULL: none */
    struct str value;
};

enum { EMIT_COPY_HEADERS_MAX = 3 };

struct emit_copy {
    const char *topic;
    int32_t partition; /* -1: by the key's murmur2 */
    struct str key, value;
    int64_t timestamp_ms; /* 0: now */
    /* Of ingest_follow_record: its headers from first_header on, n_headers at most, go along; may be NULL. */
    const void *message;
    size_t first_header, n_headers;
    /* Behind them; one of the same name that goes along is left out. */
    struct emit_header extra[EMIT_COPY_HEADERS_MAX];
    /* Filled by emit_copy_send, also when it fails: whether it is acknowledged, and where it stands. */
    bool is_acked;
    int32_t at_partition;
    int64_t at_offset;
};

/* Does not wait for the broker. Errors: ERR_FATAL exit 2 settings. */
MUST_USE bool emit_copier_open(struct emit_copier **copier, const struct kafka_config *config,
                               struct err *err);
/* The same, but what one call of emit_copy_send sends stands there as a whole or not at all, and whoever opens another one with this
 * id, anywhere, ends this one: its sends fail from then on. Waits for the broker, some 10 s at most. Errors: ERR_FATAL exit 2, 4. */
MUST_USE bool emit_copier_open_alone(struct emit_copier **copier, const struct kafka_config *config,
                                     const char *transactional_id, struct err *err);
/* Sends all n and waits until all are acknowledged. The topics exist (a missing one might be made by the broker). Errors:
 * ERR_FATAL, then those that are not acknowledged may stand in the topic or not (of a copier that is alone: any, and it can send no
 * more; exit 8: another one was opened). */
MUST_USE bool emit_copy_send(struct emit_copier *copier, struct emit_copy *copies, int n,
                             struct err *err);
void emit_copier_close(struct emit_copier *copier); /* NULL is fine */

#endif
