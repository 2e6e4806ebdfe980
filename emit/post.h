#ifndef EMIT_POST_H
#define EMIT_POST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "kafka/kafka.h"

/* A producer for records that come one by one and whose sender waits for the acknowledgement without blocking: what is sent
 * carries a tag, and comes back with it. Thread: one for all but the descriptor's becoming readable. */
struct emit_post;

struct emit_posted {
    uint64_t tag;
    bool ok;
    const char *why; /* NULL when ok; static */
};

/* Does not wait for the broker. Partitions are chosen by the key's murmur2. Errors: ERR_FATAL exit 2 settings. */
MUST_USE bool emit_post_open(struct emit_post **post, const struct kafka_config *config,
                             const char *topic, struct err *err);
/* Copies key and value. Errors: ERR_RETRY the queue is full; ERR_FATAL. */
MUST_USE bool emit_post_send(struct emit_post *post, struct str key, struct str value,
                             int64_t timestamp_ms, uint64_t tag, struct err *err);
/* The same into a partition of the caller's choice, -1 by the key. */
MUST_USE bool emit_post_send_to(struct emit_post *post, int32_t partition, struct str key,
                                struct str value, int64_t timestamp_ms, uint64_t tag,
                                struct err *err);
/* Readable when emit_post_take has something. */
int emit_post_event_fd(const struct emit_post *post);
/* Calls visit for each record that was acknowledged or failed. */
void emit_post_take(struct emit_post *post,
                    void (*visit)(void *context, const struct emit_posted *posted), void *context);
/* What is not acknowledged is dropped. NULL is fine. */
void emit_post_close(struct emit_post *post);

#endif
