/* Settings of librdkafka: ours that the user may change, the user's, and ours that win. refuse.c says what the user may not
 * set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/options.h"
#include "kafka/internal.h"

/* ---- making a configuration ---- */

/* librdkafka's reason, unless it repeats a secret, also one cut off at the end. */
static const char *reason(const struct kafka_setting *s, const char *why)
{
    char beginning[5] = "";
    (void)snprintf(beginning, sizeof beginning, "%s", s->value);
    return options_is_secret(s->key) && strstr(why, beginning) ? "bad value" : why;
}

static bool conf_put(rd_kafka_conf_t *conf, const char *prefix, const struct kafka_setting *s,
                     struct err *err)
{
    char why[256] = "";
    switch (rd_kafka_conf_set(conf, s->key, s->value, why, sizeof why)) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s%s is no setting of the Kafka client (librdkafka %s): see its "
                         "CONFIGURATION.md for the names",
                         prefix, s->key, rd_kafka_version_str());
    default:
        return err_fatal(err, ERR_EXIT_USAGE, "%s%s=%s is refused by the Kafka client: %s", prefix,
                         s->key, options_redacted(s->key, s->value), reason(s, why));
    }
}

static bool conf_put_all(rd_kafka_conf_t *conf, const char *prefix,
                         const struct kafka_setting *settings, size_t n, bool refuse,
                         struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (refuse && !kafka__setting_check(&settings[i], prefix, err)) return false;
        if (!conf_put(conf, prefix, &settings[i], err)) return false;
    }
    return true;
}

/* Ours, which the user may change. Nagle and the ten-second reconnect back-off cost latency; both are librdkafka 2.0.2
 * defaults. A fetch that finds nothing waits at the broker, where new data wake it; a partition that is added meanwhile
 * waits for its end, so that is not librdkafka's 500 ms. A shard's queue holds more than it takes in a second: a partition that
 * meets a longer queue than queued.min.messages is not fetched for a second (librdkafka before 2.2 has no setting for that pause),
 * and with a shorter queue the shard would run dry meanwhile. An answer is unpacked whole, to several times its size, beside what waits:
 * of 32 MiB, librdkafka's own bound, a process that catches up held 30 to 110 MiB more (docs/RESULTS.md, "Memory"). */
static const struct kafka_setting defaults_common[] = {
    {"socket.nagle.disable", "true"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    {"log.connection.close", "false"},
    {"topic.metadata.refresh.interval.ms", "60000"},
};
enum { FETCH_BYTES = 4194304 }; /* the default below */
static const struct kafka_setting defaults_consumer[] = {
    {"fetch.wait.max.ms", "100"},      {"fetch.error.backoff.ms", "100"},
    {"queued.min.messages", "100000"}, {"queued.max.messages.kbytes", "32768"},
    {"fetch.max.bytes", "4194304"},    {"max.poll.interval.ms", "300000"},
};
static const struct kafka_setting defaults_producer[] = {
    {"linger.ms", "2"},
    {"batch.num.messages", "10000"},
    {"compression.type", "lz4"},
    {"queue.buffering.max.messages", "1000000"},
    {"message.timeout.ms", "300000"},
    {"retry.backoff.ms", "50"},
};
/* Ours, which win over the user's (who is refused anyway). One request at a time: with five, tests/emit/restart_test lost
 * acknowledged records on a loaded machine (librdkafka 2.0.2, Kafka 4.1.1, a broker that restarts under records), with one it never did.
 * Not shown step by step; it fits that a broker which knows nothing of a producer yet takes any sequence number: it may refuse the first
 * batch of a partition while it starts and take the second, and the first one's retry then counts as a repetition. */
static const struct kafka_setting forced_common[] = {
    {"sasl.kerberos.min.time.before.relogin", "0"}, /* else it runs kinit in a shell */
};
static const struct kafka_setting forced_consumer[] = {
    {"check.crcs", "true"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_committed"},
    {"partition.assignment.strategy", "range"},
    {"allow.auto.create.topics", "false"},
};
static const struct kafka_setting forced_producer[] = {
    {"enable.idempotence", "true"},
    {"max.in.flight", "1"},
    {"acks", "all"},
    {"partitioner", "murmur2_random"},
};
static const struct kafka_setting planted_producer[] = {{"enable.idempotence", "false"}};

#define PUT(conf, table, err)                                                                      \
    conf_put_all(conf, "", (table), sizeof(table) / sizeof((table)[0]), false, err)

int kafka_conf_number(const rd_kafka_conf_t *conf, const char *key)
{
    char text[32] = "";
    size_t size = sizeof text;
    int number = 0;
    (void)rd_kafka_conf_get(conf, key, text, &size);
    (void)sscanf(text, "%d", &number);
    return number;
}

/* The user's own bound on an answer, where it is less than the longest record: the client would refuse it without a word of what to do. */
static bool fetch_check(const rd_kafka_conf_t *conf, struct err *err)
{
    int most = kafka_conf_number(conf, "fetch.max.bytes");
    int longest = kafka_conf_number(conf, "message.max.bytes");
    if (most >= longest || most == FETCH_BYTES) return true;
    return err_fatal(err, ERR_EXIT_USAGE,
                     "fetch.max.bytes=%d has no room for a record of message.max.bytes=%d: raise "
                     "it, or leave it out",
                     most, longest);
}

static bool conf_fill(rd_kafka_conf_t *conf, const struct kafka_config *config,
                      enum kafka_role role, struct err *err)
{
    if (!PUT(conf, defaults_common, err)) return false;
    if (role == KAFKA_CONSUMER && !PUT(conf, defaults_consumer, err)) return false;
    if (role == KAFKA_PRODUCER && !PUT(conf, defaults_producer, err)) return false;
    if (!conf_put_all(conf, "", config->common, config->n_common, true, err)) return false;
    if (!PUT(conf, forced_common, err)) return false;
    if (role == KAFKA_CONSUMER)
        return conf_put_all(conf, "consumer.", config->consumer, config->n_consumer, true, err) &&
               fetch_check(conf, err) && PUT(conf, forced_consumer, err);
    if (role == KAFKA_PRODUCER)
        return conf_put_all(conf, "producer.", config->producer, config->n_producer, true, err) &&
               PUT(conf, forced_producer, err) &&
               (!fault_mutant("not_idempotent") || PUT(conf, planted_producer, err));
    return true;
}

/* Ours has room for the longest record, which the user may set; the client refuses less. */
static bool fetch_bound(rd_kafka_conf_t *conf, struct err *err)
{
    char text[32];
    int longest = kafka_conf_number(conf, "message.max.bytes");
    const struct kafka_setting bound = {"fetch.max.bytes", text};
    if (kafka_conf_number(conf, "fetch.max.bytes") >= longest) return true;
    (void)snprintf(text, sizeof text, "%d", longest);
    return conf_put(conf, "", &bound, err);
}

/* With transactions a record has no longer than its transaction; the client refuses more. 0 is without end. */
static bool message_timeout_bound(rd_kafka_conf_t *conf, const struct kafka_setting *own,
                                  size_t n_own, struct err *err)
{
    char transaction[32];
    size_t size = sizeof transaction;
    bool has_id = false;
    for (size_t i = 0; i < n_own; i++)
        has_id = has_id || strcmp(own[i].key, "transactional.id") == 0;
    if (!has_id) return true;
    int most = kafka_conf_number(conf, "message.timeout.ms");
    (void)rd_kafka_conf_get(conf, "transaction.timeout.ms", transaction, &size);
    const struct kafka_setting bound = {"message.timeout.ms", transaction};
    if (most > 0 && most <= strtol(transaction, NULL, 10)) return true;
    return conf_put(conf, "", &bound, err);
}

rd_kafka_conf_t *kafka_client_conf(const struct kafka_config *config, enum kafka_role role,
                                   const struct kafka_setting *own, size_t n_own, struct err *err)
{
    if (!config->bootstrap_servers || !config->bootstrap_servers[0]) {
        err_fatal(err, ERR_EXIT_USAGE,
                  "bootstrap.servers is empty: set host:port of a Kafka broker");
        return NULL;
    }
    if (strcmp(config->bootstrap_servers, "embedded") == 0) {
        err_fatal(
            err, ERR_EXIT_USAGE,
            "bootstrap.servers=embedded lives inside one process and this command started none: "
            "set host:port of a Kafka broker");
        return NULL;
    }
    const struct kafka_setting always[] = {
        {"bootstrap.servers", config->bootstrap_servers},
        {"client.id", config->client_id && config->client_id[0] ? config->client_id : "freshet"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!conf_fill(conf, config, role, err) || !PUT(conf, always, err) ||
        !conf_put_all(conf, "", own, n_own, false, err) || !kafka__conf_check(conf, err) ||
        (role == KAFKA_CONSUMER && !fetch_bound(conf, err)) ||
        !message_timeout_bound(conf, own, n_own, err)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

bool kafka_config_check(const struct kafka_config *config, struct err *err)
{
    struct kafka_config any = *config;
    if (any.bootstrap_servers && strcmp(any.bootstrap_servers, "embedded") == 0)
        any.bootstrap_servers = "127.0.0.1";
    for (int role = KAFKA_ADMIN; role <= KAFKA_PRODUCER; role++) {
        rd_kafka_conf_t *conf = kafka_client_conf(&any, (enum kafka_role)role, NULL, 0, err);
        if (!conf) return false;
        rd_kafka_conf_destroy(conf);
    }
    return true;
}
