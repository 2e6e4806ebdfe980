/* Settings of librdkafka that are refused, each with why and what to do instead (RELIABILITY 5).
 *
 * A pass-through of settings is a way to run code (plugins, shell commands), to speak to somebody who poses as the broker, and
 * to break what the position protocol rests on (automatic commits, offset resets, acks). A setting is refused by its name, or
 * by what it comes to: librdkafka takes "false", "f" and "0" for the same, so values are looked at after it has read
 * them. */
#include <string.h>
#include <strings.h>

#include "kafka/internal.h"

static const char leave_out[] = "leave it out";

/* {name, why, what to do}. A test holds every property of the installed librdkafka against this table. */
const struct kafka__refusal kafka__refusals[] = {
    /* clang-format off */
    /* they run code */
    {"plugin.library.paths", "it loads foreign code into the process", leave_out},
    {"interceptors", "it runs foreign code in the process", leave_out},
    {"sasl.kerberos.kinit.cmd", "it runs a shell command", "keep a ticket fresh outside, with k5start or cron"},
    {"sasl.kerberos.min.time.before.relogin", "it runs kinit in a shell", "keep a ticket fresh outside, with k5start or cron"},
    {"sasl.kerberos.keytab", "only the kinit that freshet does not run reads it", "keep a ticket fresh outside, with k5start or cron"},
    {"ssl.engine.location", "it loads foreign code into the process", "use ssl.key.location"},
    {"ssl.engine.id", "it loads foreign code into the process", "use ssl.key.location"},
    {"ssl.providers", "it loads foreign code into the process", "configure OpenSSL in openssl.cnf"},
    {"test.mock.num.brokers", "it replaces the broker by a mock", "set bootstrap.servers=embedded"},
    {"test.mock.broker.rtt", "it slows a mock broker that is not there", leave_out},
    {"internal.termination.signal", "signals of the process are freshet's own", leave_out},
    /* they have a name of their own */
    {"bootstrap.servers", "it has one value for the whole program", "set it without a prefix"},
    {"metadata.broker.list", "it is bootstrap.servers", "set bootstrap.servers without a prefix"},
    {"client.id", "it is made from application.id", "set application.id"},
    {"group.id", "it is application.id", "set application.id"},
    {"group.instance.id", "it has one value for the whole program", "set it without a prefix, a different one for each process"},
    {"session.timeout.ms", "it has one value for the whole program", "set it without a prefix"},
    {"queue.buffering.max.kbytes", "the producer's memory has an option of its own", "set producer.queue.max.bytes"},
    {"log.queue", "the client's lines go through freshet's own log", "see log.level and debug"},
    {"enabled_events", "freshet knows which events it handles", leave_out},
    /* the position protocol rests on them: the consumer */
    {"enable.auto.commit", "positions move with the state, not with time", "see commit.interval.ms"},
    {"auto.commit.enable", "positions move with the state, not with time", "see commit.interval.ms"},
    {"auto.commit.interval.ms", "positions move with the state, not with time", "see commit.interval.ms"},
    {"enable.auto.offset.store", "positions move with the state, not with delivery", leave_out},
    {"offset.store.method", "positions stand in the state store", leave_out},
    {"offset.store.path", "positions stand in the state store", leave_out},
    {"offset.store.sync.interval.ms", "positions stand in the state store", leave_out},
    {"auto.offset.reset", "a lost position must stop the partition", "see on.offset.gap and events.start"},
    {"isolation.level", "aborted records must not change state", leave_out},
    {"partition.assignment.strategy", "topics that belong together need `range`", leave_out},
    {"group.protocol.type", "the group is one of consumers", leave_out},
    {"enable.partition.eof", "the end of a partition is not an event", leave_out},
    {"check.crcs", "damaged batches must be seen", leave_out},
    {"topic.blacklist", "a topic that is passed over looks like one that is missing", "see events.topics"},
    {"allow.auto.create.topics", "a topic that is missing must be seen", "use `freshet topics create`"},
    /* the same: the producer */
    {"enable.idempotence", "retries must neither repeat nor reorder lists", leave_out},
    {"acks", "a position moves only past acknowledged output; it is `all`", leave_out},
    {"request.required.acks", "a position moves only past acknowledged output; it is `all`", leave_out},
    {"transactional.id", "it follows from application.id and group.instance.id", "see processing.guarantee"},
    {"max.in.flight", "retries must not reorder lists", leave_out},
    {"max.in.flight.requests.per.connection", "retries must not reorder lists", leave_out},
    {"retries", "a list is tried until it is delivered or late", "see producer.message.timeout.ms"},
    {"message.send.max.retries", "a list is tried until it is delivered or late", "see producer.message.timeout.ms"},
    {"delivery.report.only.error", "each acknowledgement is counted", leave_out},
    {"queuing.strategy", "lists of a user must stay in order", leave_out},
    {"msg_order_cmp", "lists of a user must stay in order", leave_out},
    {"partitioner", "keys must meet the partitions that Java producers choose", leave_out},
    /* transactions and idempotence rest on what the broker says it can do */
    {"api.version.request", "what the broker can do must be known", leave_out},
    {"api.version.fallback.ms", "what the broker can do must be known", leave_out},
    {"broker.version.fallback", "what the broker can do must be known", leave_out},
    /* clang-format on */
};
const size_t kafka__n_refusals = sizeof kafka__refusals / sizeof kafka__refusals[0];

const struct kafka__wanted kafka__wanted[] = {
    {"enable.ssl.certificate.verification", "true", "anyone could pose as the broker",
     "set ssl.ca.location to the authority that signed its certificate"},
    {"ssl.endpoint.identification.algorithm", "https", "anyone could pose as the broker",
     "give the broker a certificate with its host's name"},
    {"enable.sasl.oauthbearer.unsecure.jwt", "false", "anyone could pose as this client",
     "use another sasl.mechanism"},
};
const size_t kafka__n_wanted = sizeof kafka__wanted / sizeof kafka__wanted[0];

/* librdkafka takes a property of topics under its name and under "topic." and its name. */
static bool is_named(const char *key, const char *name)
{
    return strcmp(key, name) == 0 || (strncmp(key, "topic.", 6) == 0 && strcmp(key + 6, name) == 0);
}

bool kafka__setting_check(const struct kafka_setting *setting, const char *prefix, struct err *err)
{
    static const char endpoint[] = "sasl.oauthbearer.token.endpoint.url";
    for (size_t i = 0; i < kafka__n_refusals; i++) {
        const struct kafka__refusal *r = &kafka__refusals[i];
        if (is_named(setting->key, r->key))
            return err_fatal(err, ERR_EXIT_USAGE, "%s%s is refused: %s; %s", prefix, setting->key,
                             r->why, r->instead);
    }
    if (strcmp(setting->key, endpoint) == 0 && strncasecmp(setting->value, "https://", 8) != 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s%s is refused: the client's secret would travel in the clear; set a "
                         "URL that begins with https://",
                         prefix, endpoint);
    return true;
}

bool kafka__conf_check(const rd_kafka_conf_t *conf, struct err *err)
{
    for (size_t i = 0; i < kafka__n_wanted; i++) {
        const struct kafka__wanted *w = &kafka__wanted[i];
        char value[32] = "";
        size_t size = sizeof value;
        if (rd_kafka_conf_get(conf, w->key, value, &size) == RD_KAFKA_CONF_OK &&
            strcmp(value, w->value) == 0)
            continue;
        return err_fatal(err, ERR_EXIT_USAGE, "%s=%s is refused: %s; %s", w->key, value, w->why,
                         w->instead);
    }
    return true;
}
