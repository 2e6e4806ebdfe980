/* librdkafka's error codes as struct err: class, exit code, and what to do about it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kafka/internal.h"

struct mapping {
    rd_kafka_resp_err_t code;
    enum err_class class;
    enum err_exit exit_code;
    const char *advice;
};

#define E(name)     RD_KAFKA_RESP_ERR_##name
#define UNREACHABLE ERR_FATAL, ERR_EXIT_UNREACHABLE
#define TOPIC       ERR_FATAL, ERR_EXIT_TOPIC
#define USAGE       ERR_FATAL, ERR_EXIT_USAGE
#define FENCED      ERR_FATAL, ERR_EXIT_FENCED
#define RETRY       ERR_RETRY, ERR_EXIT_UNREACHABLE

/* What is not listed is ERR_FATAL exit 1: an error that nobody classified must not be retried for ever. */
static const struct mapping mappings[] = {
    {E(_TRANSPORT), UNREACHABLE,
     "check bootstrap.servers and security.protocol, that the broker runs, and the network"},
    {E(_ALL_BROKERS_DOWN), UNREACHABLE,
     "check bootstrap.servers and security.protocol, that the broker runs, and the network"},
    {E(_RESOLVE), UNREACHABLE, "check the host names in bootstrap.servers"},
    {E(_TIMED_OUT), UNREACHABLE,
     "check bootstrap.servers and security.protocol, that the broker runs, and the network"},
    {E(_MSG_TIMED_OUT), UNREACHABLE,
     "the broker did not acknowledge in time; check its health, then start again"},
    {E(_TIMED_OUT_QUEUE), UNREACHABLE, "check the broker's health"},
    {E(REQUEST_TIMED_OUT), UNREACHABLE, "check the broker's health"},
    {E(NOT_ENOUGH_REPLICAS), UNREACHABLE,
     "too few replicas in sync; check min.insync.replicas and the brokers"},
    {E(NOT_ENOUGH_REPLICAS_AFTER_APPEND), UNREACHABLE,
     "too few replicas in sync; check the brokers"},
    {E(INVALID_TIMESTAMP), UNREACHABLE,
     "put right the clock of this machine or the broker's, or raise the topic's "
     "message.timestamp.after.max.ms and message.timestamp.before.max.ms"},
    {E(KAFKA_STORAGE_ERROR), UNREACHABLE, "the broker's disk failed; look at its log"},
    {E(_SSL), USAGE, "check security.protocol and the ssl.* settings"},
    {E(_AUTHENTICATION), USAGE, "check sasl.* and the credentials"},
    {E(SASL_AUTHENTICATION_FAILED), USAGE, "check sasl.* and the credentials"},
    {E(UNSUPPORTED_SASL_MECHANISM), USAGE, "check sasl.mechanisms"},
    {E(TOPIC_AUTHORIZATION_FAILED), USAGE,
     "grant this user READ on the events topics and WRITE on its outputs"},
    {E(GROUP_AUTHORIZATION_FAILED), USAGE,
     "grant this user READ on the group named by application.id"},
    {E(CLUSTER_AUTHORIZATION_FAILED), USAGE,
     "grant this user the cluster rights it needs (IDEMPOTENT_WRITE, CREATE)"},
    {E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), USAGE,
     "grant this user WRITE and DESCRIBE on the transactional id "
     "<application.id>-<group.instance.id>, or take processing.guarantee=at_least_once"},
    {E(INVALID_TRANSACTION_TIMEOUT), USAGE,
     "set producer.transaction.timeout.ms within the brokers' transaction.max.timeout.ms"},
    {E(INVALID_SESSION_TIMEOUT), USAGE,
     "set session.timeout.ms within the broker's group.min/max.session.timeout.ms"},
    {E(INCONSISTENT_GROUP_PROTOCOL), USAGE,
     "another program uses this group; give each its own application.id"},
    {E(INVALID_GROUP_ID), USAGE, "set application.id"},
    {E(INVALID_REPLICATION_FACTOR), USAGE,
     "there are fewer brokers than copies; set replication.factor"},
    {E(POLICY_VIOLATION), USAGE,
     "the cluster's policy forbids it; create the topic as the cluster's owner does"},
    {E(FENCED_INSTANCE_ID), FENCED,
     "another process runs with this group.instance.id; give each its own"},
    {E(_FENCED), FENCED,
     "another process took over with this group.instance.id; give each its own"},
    {E(PRODUCER_FENCED), FENCED,
     "another process took over with this group.instance.id; give each its own"},
    {E(UNKNOWN_TOPIC_OR_PART), TOPIC,
     "create it with `freshet topics create`, or check the name and the rights"},
    {E(_UNKNOWN_TOPIC), TOPIC,
     "create it with `freshet topics create`, or check the name and the rights"},
    {E(_UNKNOWN_PARTITION), TOPIC, "the topic changed under the program; start again"},
    {E(TOPIC_EXCEPTION), TOPIC, "the topic's name is not valid"},
    {E(MSG_SIZE_TOO_LARGE), TOPIC,
     "raise max.message.bytes of the topic and producer.message.max.bytes"},
    {E(RECORD_LIST_TOO_LARGE), TOPIC, "raise max.message.bytes of the topic"},
    {E(INVALID_RECORD), TOPIC,
     "the topic refuses the record; check its cleanup.policy and message format"},
    {E(_BAD_MSG), TOPIC,
     "a batch is damaged in the log; look at the broker, then set on.offset.gap=accept to pass it"},
    {E(_BAD_COMPRESSION), TOPIC,
     "a batch does not decompress; set on.offset.gap=accept to pass it"},
    {E(_AUTO_OFFSET_RESET), TOPIC,
     "records before the program's position are gone (retention), or the topic was made anew; "
     "move the state folder aside to start over, on.offset.gap=accept goes on behind the hole"},
    {E(OFFSET_OUT_OF_RANGE), TOPIC,
     "records before the program's position are gone (retention), or the topic was made anew; "
     "move the state folder aside to start over, on.offset.gap=accept goes on behind the hole"},
    {E(OUT_OF_ORDER_SEQUENCE_NUMBER), UNREACHABLE,
     "the producer lost its place; start again, nothing is lost"},
    {E(UNKNOWN_PRODUCER_ID), UNREACHABLE,
     "the producer lost its place; start again, nothing is lost"},
    {E(_GAPLESS_GUARANTEE), UNREACHABLE,
     "the producer lost its place; start again, nothing is lost"},
    {E(_PURGE_QUEUE), UNREACHABLE, "the producer was closed before the record was sent"},
    {E(_PURGE_INFLIGHT), UNREACHABLE, "the producer was closed before the record was acknowledged"},
    {E(_QUEUE_FULL), RETRY, "the broker is slower than the input"},
    {E(COORDINATOR_NOT_AVAILABLE), RETRY, "the group's broker is away"},
    {E(NOT_COORDINATOR), RETRY, "the group moves to another broker"},
    {E(COORDINATOR_LOAD_IN_PROGRESS), RETRY, "the group's broker starts"},
    {E(LEADER_NOT_AVAILABLE), RETRY, "the partition has no leader at the moment"},
    {E(NOT_LEADER_FOR_PARTITION), RETRY, "the partition moves to another broker"},
    {E(REBALANCE_IN_PROGRESS), RETRY, "the group is shared out anew"},
    {E(ILLEGAL_GENERATION), RETRY, "the group was shared out anew"},
    {E(UNKNOWN_MEMBER_ID), RETRY, "the group was shared out anew"},
    {E(_MAX_POLL_EXCEEDED), RETRY, "the program did not ask for events in time"},
};

#define CLIENT_CERTIFICATE                                                                         \
    "the broker wants a certificate of this client, signed by an authority that it trusts and "    \
    "not "                                                                                         \
    "expired: ssl.certificate.location, ssl.key.location"

/* "The transport failed" hides what librdkafka's words say: the wrong certificate, name or password, which no waiting mends. */
static const struct {
    const char *word;
    struct mapping mapping;
} words[] = {
    {"Unsupported SASL mechanism",
     {E(UNSUPPORTED_SASL_MECHANISM), USAGE,
      "the broker does not take this sasl.mechanism: take one that it does, or have it switched on "
      "there"}},
    {"mechanism SCRAM",
     {E(_AUTHENTICATION), USAGE,
      "check sasl.username and sasl.password; librdkafka before 2.6.1 cannot log in to Kafka 4 by "
      "SCRAM at all (Kafka 3 takes it): "
      "then use PLAIN over TLS, or a client certificate"}},
    {"SASL authentication error", {E(_AUTHENTICATION), USAGE, "check sasl.* and the credentials"}},
    {KAFKA__CERTIFICATE_EXPIRED,
     {E(_SSL), USAGE, "renew it at the broker, or put right the clock of this machine"}},
    {KAFKA__CERTIFICATE_EARLY,
     {E(_SSL), USAGE, "put right the clock of this machine, or that of the authority"}},
    {KAFKA__CERTIFICATE_OTHER,
     {E(_SSL), USAGE,
      "name the broker in bootstrap.servers and in its advertised.listeners as its certificate "
      "does"}},
    {KAFKA__CERTIFICATE_UNKNOWN,
     {E(_SSL), USAGE, "set ssl.ca.location to the authority that signed the broker's certificate"}},
    {"certificate verify failed",
     {E(_SSL), USAGE, "set ssl.ca.location to the authority that signed the broker's certificate"}},
    {"alert bad certificate", {E(_SSL), USAGE, CLIENT_CERTIFICATE}},
    {"alert certificate", {E(_SSL), USAGE, CLIENT_CERTIFICATE}},
    {"alert unknown ca", {E(_SSL), USAGE, CLIENT_CERTIFICATE}},
    {"unexpected eof while reading",
     {E(_SSL), UNREACHABLE,
      "the broker ended the TLS handshake: check that the port speaks TLS (security.protocol), and "
      "that it runs"}},
    {"PLAINTEXT broker listener",
     {E(_SSL), USAGE,
      "the port does not speak TLS: check bootstrap.servers and security.protocol"}},
};

static bool is_transport(rd_kafka_resp_err_t code)
{
    return code == E(_TRANSPORT) || code == E(_ALL_BROKERS_DOWN) || code == E(_TIMED_OUT) ||
           code == E(_SSL) || code == E(_AUTHENTICATION);
}

static const struct mapping *mapping_of(rd_kafka_resp_err_t code, const char *reason)
{
    static const struct mapping unknown = {E(UNKNOWN), ERR_FATAL, ERR_EXIT_INTERNAL,
                                           "start again; report it if it stays"};
    for (size_t i = 0; reason && is_transport(code) && i < sizeof words / sizeof words[0]; i++)
        if (strstr(reason, words[i].word)) return &words[i].mapping;
    for (size_t i = 0; i < sizeof mappings / sizeof mappings[0]; i++)
        if (mappings[i].code == code) return &mappings[i];
    return &unknown;
}

bool kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *reason,
                   const char *format, ...)
{
    const struct mapping *found = mapping_of(code, reason);
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    bool detail = reason && reason[0];
    return err_set_at(err, found->class, found->exit_code, __FILE__, __LINE__,
                      "%s: %s%s%.180s%s: %s", what, rd_kafka_err2str(code), detail ? " (" : "",
                      detail ? reason : "", detail ? ")" : "", found->advice);
}

bool kafka_err_passes(const struct err *err, rd_kafka_resp_err_t code)
{
    return err_passes(err) || code == E(_UNKNOWN_PARTITION) || code == E(_UNKNOWN_TOPIC) ||
           code == E(UNKNOWN_TOPIC_OR_PART);
}
