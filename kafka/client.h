#ifndef KAFKA_CLIENT_H
#define KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/sync.h"
#include "kafka/kafka.h"

/* The half of kafka/ that only ingest/ and emit/ include, because it names librdkafka's types: one place that makes
 * clients, one place that turns their errors into ours. Reading order: config.c, refuse.c, client.c, error.c, topics.c,
 * groups.c, places.c, takeover.c. */

enum kafka_role { KAFKA_ADMIN, KAFKA_CONSUMER, KAFKA_PRODUCER };

/* What a client keeps beside librdkafka. It is the client's opaque, so librdkafka's callbacks reach their owner
 * through it. Lives longer than the client. */
struct kafka_notes {
    struct mutex lock; /* guards the next two */
    char last[256];    /* newest complaint of the client; "" none */
    bool has_verdict;  /* it says what is wrong with a broker's certificate */
    bool
        quiet; /* complaints are only noted, not logged: short-lived clients, whose caller reports */
    void *owner;             /* for the callbacks of ingest and emit */
    const char *request;     /* whose highest version is noted (version.c); NULL none */
    struct sync_int version; /* it + 1; 0 unknown */
    /* Connections that have ended, by whatever side. Counted before librdkafka sends again what was under way on them. */
    struct sync_int closed;
};

void kafka_notes_init(struct kafka_notes *notes, bool quiet, void *owner);
void kafka_notes_fini(struct kafka_notes *notes);

/* A configuration: our defaults, then what the user passed through, then `own` (n_own), which always win. Returns NULL
 * and fills err (ERR_FATAL exit 2) when a setting is refused. The caller owns it until kafka_client_new. */
rd_kafka_conf_t *kafka_client_conf(const struct kafka_config *config, enum kafka_role role,
                                   const struct kafka_setting *own, size_t n_own, struct err *err);

/* The value of a property that is a number; 0 where it is none. */
int kafka_conf_number(const rd_kafka_conf_t *conf, const char *key);

/* Takes conf in every case. NULL: ERR_FATAL exit 2, the settings contradict each other. Free with
 * kafka_client_free. */
rd_kafka_t *kafka_client_new(rd_kafka_conf_t *conf, enum kafka_role role, struct kafka_notes *notes,
                             struct err *err);

/* Destroys the client within timeout_ms. false: it hangs and is left to the end of the process (then its notes must
 * stay, too). */
bool kafka_client_free(rd_kafka_t *client, int timeout_ms);

/* Fills err from librdkafka's code: class, exit code, and a text made of `format` (what was tried), the code's own
 * words, `reason` (librdkafka's detail, or NULL) and what to do. Returns false. Thread: any. */
bool kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *reason,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
/* What is asked of a topic that was there may be answered when it is asked again: brokers start and move, and of a topic that they have
 * not told this client of yet librdkafka says, after some 100 ms, that it has no such partition. err: as kafka_err_set has filled it. */
bool kafka_err_passes(const struct err *err, rd_kafka_resp_err_t code);

/* Partitions of each topic, asked by a client of its own that never creates a topic by asking. Errors: ERR_FATAL exit 4
 * unreachable, exit 5 a topic does not exist, exit 2 not authorised. */
MUST_USE bool kafka_topics_partitions(const struct kafka_config *config, const char *const *topics,
                                      int n, int *partitions, int timeout_ms, struct err *err);

#endif
