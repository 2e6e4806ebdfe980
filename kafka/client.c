/* Clients: made, watched and ended. librdkafka's log lines go through base/log. */
#include "kafka/client.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

/* ---- notes ---- */

void kafka_notes_init(struct kafka_notes *notes, bool quiet, void *owner)
{
    mutex_init(&notes->lock);
    notes->last[0] = '\0';
    notes->quiet = quiet;
    notes->owner = owner;
}

void kafka_notes_fini(struct kafka_notes *notes)
{
    mutex_fini(&notes->lock);
}

/* librdkafka's levels are syslog's: below 5 is a complaint. That all brokers are down says less than why the last one
 * is, so it does not replace a note. Thread: any of librdkafka's. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    struct kafka_notes *notes = rd_kafka_opaque(client);
    /* The embedded broker's age is not worth a line for each connection. */
    if (level >= 5 || !notes || strcmp(facility, "AUTOCREATE") == 0) {
        log_debug("kafka", text, "client=%s facility=%s", rd_kafka_name(client), facility);
        return;
    }
    mutex_lock(&notes->lock);
    if (!notes->last[0] || !strstr(text, "brokers are down"))
        (void)snprintf(notes->last, sizeof notes->last, "%s", text);
    mutex_unlock(&notes->lock);
    if (!notes->quiet)
        log_warn("kafka", text, "client=%s facility=%s", rd_kafka_name(client), facility);
}

/* ---- life ---- */

rd_kafka_t *kafka_client_new(rd_kafka_conf_t *conf, enum kafka_role role, struct kafka_notes *notes,
                             struct err *err)
{
    char why[256];
    sync_tsan_link();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_opaque(conf, notes);
    /* The admin client is a consumer without a group: unlike a producer it never creates a topic by asking for it. */
    rd_kafka_type_t type = role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (client) return client;
    rd_kafka_conf_destroy(conf);
    err_fatal(err, ERR_EXIT_USAGE, "the Kafka client refuses its settings: %s", why);
    return NULL;
}

/* rd_kafka_destroy joins librdkafka's threads and can hang (a record not given back, an unlucky moment of a rebalance).
 * It runs on a thread of its own, which is left behind when it takes too long. */
struct farewell {
    struct thread thread;
    rd_kafka_t *client;
    struct flag done;
};

static void farewell_run(void *context)
{
    struct farewell *farewell = context;
    rd_kafka_destroy_flags(farewell->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    flag_raise(&farewell->done);
}

bool kafka_client_free(rd_kafka_t *client, int timeout_ms)
{
    struct err err = ERR_INIT;
    struct farewell *farewell = mem_zalloc(sizeof *farewell);
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    farewell->client = client;
    if (!thread_start(&farewell->thread, "kafka-close", farewell_run, farewell, &err)) {
        log_err(LOG_WARN, "kafka", &err);
        mem_free(farewell);
        return false;
    }
    while (!flag_is_raised(&farewell->done)) {
        if (clock_mono_ns() > until) {
            log_warn("kafka", "a client does not close and is left to the end of the process",
                     "waited_ms=%d", timeout_ms);
            return false;
        }
        sync_sleep_ms(1);
    }
    thread_join(&farewell->thread);
    mem_free(farewell);
    return true;
}
