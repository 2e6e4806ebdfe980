#ifndef EMIT_INTERNAL_H
#define EMIT_INTERNAL_H

#include "base/sync.h"
#include "emit/emit.h"
#include "emit/transaction.h"
#include "kafka/client.h"

enum { EMIT__DLQ = EMIT_TOPIC_COUNT, EMIT__TOPICS };

/* Of a transactional producer (commit.c). */
struct emit__transactions {
    struct txn txn; /* of the thread that commits */
    int timeout_ms; /* transaction.timeout.ms */
    int slow_ms;    /* socket.timeout.ms: a request that took longer was sent again */
    struct mutex lock;
    struct condition changed;
    struct sync_int
        open; /* the transaction that records go into; 0 none. Written under lock, with release */
    struct sync_int called_ms; /* since when a call is under way; 0 none */
    int64_t closed; /* connections of the client that had ended when the transaction began */
    struct sync_int sent_ms;   /* when the first record went into the open one; 0 none has */
    struct flag is_fenced;     /* this client is */
    struct sync_int fenced_ms; /* when a client before it was, the last time; 0 none */
};

struct emit {
    const struct kafka_config *config;
    struct emit_options options;
    struct emit__transactions *transactions; /* NULL: at least once */
    struct kafka_notes notes;
    rd_kafka_t *client;
    rd_kafka_topic_t *topics[EMIT__TOPICS]; /* lists, ..., dead letters last */
    rd_kafka_queue_t *reports;              /* acknowledgements and errors */
    int timeout_ms;                         /* of a record: message.timeout.ms */
    struct sync_int awake_ms;               /* of clock_boot_ms, when `thread` last looked */
    int64_t open_ms;                        /* how long the client's start waits for brokers */
    struct thread thread;                   /* reads `reports` */
    bool started;
    struct flag stop;
    struct flag failed;     /* failure is set; once up, it stays */
    struct flag is_hurried; /* a new client's start waits for brokers no more */
    struct mutex lock;      /* guards failure while it is written */
    struct err failure;     /* the first one */
    struct emit_epoch
        *orphans; /* freed unsettled: acknowledgements may still come; lock guards it */
};

struct emit_epoch {
    struct emit *emit;
    int64_t transaction;   /* that it belongs to; 0 without transactions */
    int64_t sent;          /* owner's thread only */
    struct sync_int acked; /* written by the reports thread only, with release */
    struct emit_epoch *next_orphan;
};

/* emit.c */
/* One record; parts[0], its topic, is filled in. A full queue is waited for. Returns 0, or librdkafka's code with err set
 * (ERR_FATAL); headers among the parts are then still the caller's. */
rd_kafka_resp_err_t emit__produce(struct emit *emit, struct emit_epoch *epoch, int topic,
                                  rd_kafka_vu_t *parts, size_t n_parts, struct err *err);
/* Made, warm, acknowledgements read; and ended (false: it hangs and still has its callbacks after wait_ms). */
MUST_USE bool emit__client_start(struct emit *emit, struct err *err);
MUST_USE bool emit__client_end(struct emit *emit, int64_t wait_ms);
/* The first failure stays. */
void emit__fail(struct emit *emit, const struct err *err);
bool emit__failure_get(const struct emit *emit, struct err *err);
/* "<topic>/<partition>/<offset>" into out; returns its length. */
enum { EMIT__SOURCE_MAX = 249 + 1 + 11 + 1 + 20 + 1 };
size_t emit__source_text(struct emit_source source, char out[EMIT__SOURCE_MAX]);

/* awake.c */
/* Whether a record may be sent: the process has not stood still. false: err says what failed. */
MUST_USE bool emit__may_send(struct emit *emit, struct err *err);
/* Several times a second, by the thread that reads acknowledgements. */
void emit__awake(struct emit *emit);
/* Whether a new client goes on behind a record that failed so, without transactions. */
bool emit__begins_again(const struct emit *emit, rd_kafka_resp_err_t code);
/* How old a record may get before the client sends it no more; 0: as old as message.timeout.ms says. */
int64_t emit__age_max_ms(const struct emit *emit);

/* commit.c */
struct emit__transactions *emit__transactions_new(void);
void emit__transactions_free(struct emit__transactions *transactions); /* NULL is fine */
/* A new client's init. */
MUST_USE bool emit__transactions_start(struct emit *emit, struct err *err);
/* The client was fenced. true: perhaps by nobody who lives: the broker ends a transaction that is open for transaction.timeout.ms, and
 * an init of a client before it may arrive late, its sender being dead. So it is believed the second time within a minute; until
 * then the group, which knows one member of an instance, lets nothing of two be committed. Any thread. */
bool emit__fence_is_doubted(struct emit__transactions *transactions);
/* Waits until the epoch's transaction is open. Errors: why nothing is sent any more. */
MUST_USE bool emit__gate_pass(struct emit *emit, const struct emit_epoch *epoch, struct err *err);

#endif
