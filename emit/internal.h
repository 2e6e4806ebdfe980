#ifndef EMIT_INTERNAL_H
#define EMIT_INTERNAL_H

#include "base/sync.h"
#include "emit/emit.h"
#include "kafka/client.h"

enum { EMIT__DLQ = EMIT_TOPIC_COUNT, EMIT__TOPICS };

struct emit {
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_topic_t *topics[EMIT__TOPICS]; /* lists, ..., dead letters last */
    rd_kafka_queue_t *reports;              /* acknowledgements and errors */
    int timeout_ms;                         /* of a record: message.timeout.ms */
    struct thread thread;                   /* reads `reports` */
    bool started;
    struct flag stop;
    struct flag failed; /* failure is set; once up, it stays */
    struct mutex lock;  /* guards failure while it is written */
    struct err failure; /* the first one */
    struct emit_epoch
        *orphans; /* freed unsettled: acknowledgements may still come; lock guards it */
};

struct emit_epoch {
    struct emit *emit;
    int64_t sent;          /* owner's thread only */
    struct sync_int acked; /* written by the reports thread only, with release */
    struct emit_epoch *next_orphan;
};

/* emit.c */
/* One record. A full queue is waited for. Returns 0, or librdkafka's code with err set (ERR_FATAL); headers among the
 * parts are then still the caller's. */
rd_kafka_resp_err_t emit__produce(struct emit *emit, struct emit_epoch *epoch, int topic,
                                  const rd_kafka_vu_t *parts, size_t n_parts, struct err *err);
/* "<topic>/<partition>/<offset>" into out; returns its length. */
enum { EMIT__SOURCE_MAX = 249 + 1 + 11 + 1 + 20 + 1 };
size_t emit__source_text(struct emit_source source, char out[EMIT__SOURCE_MAX]);

#endif
