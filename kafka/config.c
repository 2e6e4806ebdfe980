/* Settings of librdkafka: what we set, what the user may set, and what is refused and why.
 *
 * A pass-through of settings is a way to run code (plugins, shell commands) and to break what the position protocol
 * rests on (automatic commits, offset resets, acks). So each key that does either is in one table with its reason. */
#include "kafka/client.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"

/* ---- refusals ---- */

struct refusal {
    const char *key;
    const char *value; /* refused only with this value; NULL: with any */
    const char *why;
};

static const struct refusal refusals[] = {
    /* they run code */
    {"plugin.library.paths", NULL, "it loads foreign code into the process"},
    {"interceptors", NULL, "it runs foreign code in the process"},
    {"sasl.kerberos.kinit.cmd", NULL, "it runs a shell command; run kinit outside"},
    {"ssl.engine.location", NULL, "it loads foreign code into the process"},
    {"ssl.engine.id", NULL, "it loads foreign code into the process"},
    {"ssl.providers", NULL, "it loads foreign code into the process"},
    {"enable.ssl.certificate.verification", "false",
     "anyone could pose as the broker; set ssl.ca.location"},
    {"ssl.endpoint.identification.algorithm", "none",
     "anyone could pose as the broker; fix the certificate's names"},
    {"test.mock.num.brokers", NULL,
     "it replaces the broker by a mock; use bootstrap.servers=embedded"},
    {"test.mock.broker.rtt", NULL, "it slows a mock broker that is not there"},
    /* they have a name of their own */
    {"bootstrap.servers", NULL, "set it without a prefix"},
    {"metadata.broker.list", NULL, "set bootstrap.servers without a prefix"},
    {"client.id", NULL, "it is made from application.id"},
    {"group.id", NULL, "it is application.id"},
    {"group.instance.id", NULL, "set it without a prefix, a different one for each process"},
    {"session.timeout.ms", NULL, "set it without a prefix"},
    {"queue.buffering.max.kbytes", NULL, "the producer's memory has an option of its own"},
    /* the position protocol rests on them */
    {"enable.auto.commit", NULL, "positions move with the state, not with time"},
    {"auto.commit.enable", NULL, "positions move with the state, not with time"},
    {"enable.auto.offset.store", NULL, "positions move with the state, not with delivery"},
    {"auto.offset.reset", NULL,
     "a lost position must stop the partition; see on.offset.gap and events.start"},
    {"isolation.level", NULL, "aborted records must not change state"},
    {"partition.assignment.strategy", NULL, "topics that belong together need `range`"},
    {"queuing.strategy", NULL, "events of a user must stay in order"},
    {"enable.partition.eof", NULL, "the end of a partition is not an event"},
    {"check.crcs", NULL, "damaged batches must be seen"},
    {"allow.auto.create.topics", NULL,
     "a topic that is missing must be seen; use `freshet topics create`"},
    {"enable.idempotence", NULL, "retries must neither repeat nor reorder lists"},
    {"acks", NULL, "a position moves only past acknowledged output; it is `all`"},
    {"request.required.acks", NULL, "a position moves only past acknowledged output; it is `all`"},
    {"transactional.id", NULL, "it follows from application.id and processing.guarantee"},
    {"max.in.flight", NULL, "retries must not reorder lists"},
    {"max.in.flight.requests.per.connection", NULL, "retries must not reorder lists"},
    {"retries", NULL, "a list is tried until the delivery timeout"},
    {"message.send.max.retries", NULL, "a list is tried until the delivery timeout"},
    {"delivery.report.only.error", NULL, "each acknowledgement is counted"},
    {"partitioner", NULL, "keys must meet the partitions that Java producers choose"},
};

static bool setting_check(const struct kafka_setting *setting, const char *prefix, struct err *err)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        if (strcmp(r->key, setting->key) != 0) continue;
        if (r->value && strcasecmp(r->value, setting->value) != 0) continue;
        return err_fatal(err, ERR_EXIT_USAGE, "%s%s%s%s is refused: %s", prefix, r->key,
                         r->value ? "=" : "", r->value ? r->value : "", r->why);
    }
    return true;
}

/* Values of these never go into a text or a log. */
static bool is_secret(const char *key)
{
    return strstr(key, "password") || strstr(key, "secret") || strstr(key, ".pem") ||
           strstr(key, "oauthbearer");
}

/* ---- making a configuration ---- */

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
                         s->key, is_secret(s->key) ? "..." : s->value,
                         is_secret(s->key) ? "bad value" : why);
    }
}

static bool conf_put_all(rd_kafka_conf_t *conf, const char *prefix,
                         const struct kafka_setting *settings, size_t n, bool refuse,
                         struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (refuse && !setting_check(&settings[i], prefix, err)) return false;
        if (!conf_put(conf, prefix, &settings[i], err)) return false;
    }
    return true;
}

/* Ours, which the user may change. Nagle and the ten-second reconnect back-off cost latency; both are librdkafka 2.0.2
 * defaults. A fetch waits 10 ms at most: the mock broker is not woken by new data, a real one is. A shard's queue holds more
 * than it takes in a second: a partition that meets a longer queue than queued.min.messages is not fetched for a second
 * (librdkafka before 2.2 has no setting for that pause), and with a shorter queue the shard would run dry meanwhile. */
static const struct kafka_setting defaults_common[] = {
    {"socket.nagle.disable", "true"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    {"log.connection.close", "false"},
    {"topic.metadata.refresh.interval.ms", "60000"},
};
static const struct kafka_setting defaults_consumer[] = {
    {"fetch.wait.max.ms", "10"},        {"fetch.error.backoff.ms", "100"},
    {"queued.min.messages", "100000"},  {"queued.max.messages.kbytes", "32768"},
    {"max.poll.interval.ms", "300000"},
};
static const struct kafka_setting defaults_producer[] = {
    {"linger.ms", "2"},
    {"batch.num.messages", "10000"},
    {"compression.type", "lz4"},
    {"queue.buffering.max.messages", "1000000"},
    {"message.timeout.ms", "300000"},
    {"retry.backoff.ms", "50"},
};
/* Ours, which win over the user's (who is refused anyway). */
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
    {"acks", "all"},
    {"partitioner", "murmur2_random"},
};

#define PUT(conf, table, err)                                                                      \
    conf_put_all(conf, "", (table), sizeof(table) / sizeof((table)[0]), false, err)

static bool conf_fill(rd_kafka_conf_t *conf, const struct kafka_config *config,
                      enum kafka_role role, struct err *err)
{
    if (!PUT(conf, defaults_common, err)) return false;
    if (role == KAFKA_CONSUMER && !PUT(conf, defaults_consumer, err)) return false;
    if (role == KAFKA_PRODUCER && !PUT(conf, defaults_producer, err)) return false;
    if (!conf_put_all(conf, "", config->common, config->n_common, true, err)) return false;
    if (role == KAFKA_CONSUMER)
        return conf_put_all(conf, "consumer.", config->consumer, config->n_consumer, true, err) &&
               PUT(conf, forced_consumer, err);
    if (role == KAFKA_PRODUCER)
        return conf_put_all(conf, "producer.", config->producer, config->n_producer, true, err) &&
               PUT(conf, forced_producer, err);
    return true;
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
        !conf_put_all(conf, "", own, n_own, false, err)) {
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
