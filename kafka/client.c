/* Clients: made, watched and ended. librdkafka's log lines go through base/log. */
#include "kafka/client.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "kafka/internal.h"

/* ---- notes ---- */

void kafka_notes_init(struct kafka_notes *notes, bool quiet, void *owner)
{
    mutex_init(&notes->lock);
    notes->last[0] = '\0';
    notes->has_verdict = false;
    notes->quiet = quiet;
    notes->request = NULL;
    sync_int_set(&notes->version, 0);
    notes->owner = owner;
    sync_int_set(&notes->closed, 0);
}

void kafka_notes_fini(struct kafka_notes *notes)
{
    mutex_fini(&notes->lock);
}

/* librdkafka's levels are syslog's: below 5 is a complaint. That all brokers are down says less than why the last one
 * is, so it does not replace a note, and so does a failed handshake when its certificate was judged. Thread: any of librdkafka's. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    struct kafka_notes *notes = rd_kafka_opaque(client);
    if (notes && notes->request && strcmp(facility, "APIVERSION") == 0) {
        kafka__version_note(notes, text);
        return;
    }
    /* The embedded broker's age is not worth a line for each connection. */
    if (level >= 5 || !notes || strcmp(facility, "AUTOCREATE") == 0) {
        log_debug("kafka", text, "client=%s facility=%s", rd_kafka_name(client), facility);
        return;
    }
    mutex_lock(&notes->lock);
    bool says_less = strstr(text, "brokers are down") ||
                     (notes->has_verdict && (strstr(text, "certificate verify failed") ||
                                             strcmp(facility, "SSLCERTVRFY") == 0));
    if (!notes->last[0] || !says_less) {
        (void)snprintf(notes->last, sizeof notes->last, "%s", text);
        notes->has_verdict = false;
    }
    mutex_unlock(&notes->lock);
    if (notes->quiet) return;
    /* A producer id is asked for again until it comes, as at each first start: no reason to worry a reader. */
    enum log_level shown =
        strcmp(facility, "GETPID") == 0 && strstr(text, ": retrying") ? LOG_INFO : LOG_WARN;
    log_line(shown, "kafka", text, "client=%s facility=%s", rd_kafka_name(client), facility);
}

/* OpenSSL's verdict on one certificate of a broker's chain, never changed here: librdkafka itself only says that the handshake
 * failed. Thread: the connection's. */
static int on_certificate(rd_kafka_t *client, const char *broker, int32_t id, int *verdict,
                          int depth, const char *bytes, size_t size, char *why, size_t why_size,
                          void *opaque)
{
    enum { GOOD = 0, NOT_YET = 9, EXPIRED = 10, OTHER_HOST = 62, OTHER_ADDRESS = 64 };
    struct kafka_notes *notes = opaque;
    const char *text = *verdict == NOT_YET   ? KAFKA__CERTIFICATE_EARLY
                       : *verdict == EXPIRED ? KAFKA__CERTIFICATE_EXPIRED
                       : *verdict == OTHER_HOST || *verdict == OTHER_ADDRESS
                           ? KAFKA__CERTIFICATE_OTHER
                           : KAFKA__CERTIFICATE_UNKNOWN;
    (void)client, (void)id, (void)bytes, (void)size;
    if (*verdict == GOOD) return 1;
    (void)snprintf(why, why_size, "%s", text);
    if (!notes) return 0;
    mutex_lock(&notes->lock);
    (void)snprintf(notes->last, sizeof notes->last, "broker %.100s: %s %s", broker,
                   depth == 0 ? "its certificate" : "an authority of its certificate", text);
    notes->has_verdict = true;
    mutex_unlock(&notes->lock);
    return 0;
}

/* Thread: the connection's. */
static int on_close(int descriptor, void *opaque)
{
    struct kafka_notes *notes = opaque;
    if (notes) (void)sync_int_add(&notes->closed, 1);
    return close(descriptor);
}

/* ---- life ---- */

rd_kafka_t *kafka_client_new(rd_kafka_conf_t *conf, enum kafka_role role, struct kafka_notes *notes,
                             struct err *err)
{
    char why[256];
    sync_tsan_link();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_closesocket_cb(conf, on_close);
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf,
                                               on_certificate); /* no TLS in the build: no matter */
    rd_kafka_conf_set_opaque(conf, notes);
    /* The admin client is a consumer without a group: unlike a producer it never creates a topic by asking for it. */
    rd_kafka_type_t type = role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (client) return client;
    /* It waits a minute by the wall clock for its threads, so a clock that is set ends here; they live on with conf and notes. */
    if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        log_error("kafka", "the client's threads did not start in time: the process ends",
                  "client=%s", role == KAFKA_PRODUCER ? "producer" : "consumer");
        _exit(ERR_EXIT_UNREACHABLE);
    }
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
