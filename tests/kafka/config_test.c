/* Settings: what is refused and why, what goes through, what a bad value says. */
#include "kafka/kafka.h"
#include "tests/test.h"

static struct kafka_config config_with(const struct kafka_setting *common,
                                       const struct kafka_setting *consumer,
                                       const struct kafka_setting *producer)
{
    struct kafka_config config = {.bootstrap_servers = "127.0.0.1:9092", .client_id = "test"};
    config.common = common;
    config.n_common = common ? 1 : 0;
    config.consumer = consumer;
    config.n_consumer = consumer ? 1 : 0;
    config.producer = producer;
    config.n_producer = producer ? 1 : 0;
    return config;
}

static void refuses_what_runs_code_or_breaks_the_protocol(void)
{
    static const struct kafka_setting refused[] = {
        {"plugin.library.paths", "/tmp/x.so"},
        {"sasl.kerberos.kinit.cmd", "rm -rf /"},
        {"ssl.engine.location", "/tmp/x.so"},
        {"enable.ssl.certificate.verification", "false"},
        {"ssl.endpoint.identification.algorithm", "none"},
        {"test.mock.num.brokers", "3"},
        {"bootstrap.servers", "elsewhere:9092"},
        {"group.id", "x"},
        {"group.instance.id", "x"},
        {"enable.auto.commit", "true"},
        {"enable.auto.offset.store", "true"},
        {"auto.offset.reset", "latest"},
        {"isolation.level", "read_uncommitted"},
        {"partition.assignment.strategy", "roundrobin"},
        {"check.crcs", "false"},
        {"enable.idempotence", "false"},
        {"acks", "1"},
        {"request.required.acks", "0"},
        {"transactional.id", "x"},
        {"max.in.flight", "100"},
        {"partitioner", "random"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct kafka_setting *s = &refused[i];
        struct kafka_config places[] = {config_with(s, NULL, NULL), config_with(NULL, s, NULL),
                                        config_with(NULL, NULL, s)};
        for (int p = 0; p < 3; p++) {
            struct err err = ERR_INIT;
            CHECK_FAIL(kafka_config_check(&places[p], &err), err, ERR_FATAL);
            CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
            CHECK_CONTAINS(err.text, s->key);
            CHECK_CONTAINS(err.text, "is refused: ");
        }
    }
}

static void says_where_a_bad_setting_stands(void)
{
    struct err err = ERR_INIT;
    struct kafka_setting unknown = {"linger.sm", "1"}, bad = {"linger.ms", "soon"};
    struct kafka_setting secret = {"sasl.oauthbearer.method", "hunter2"};
    struct kafka_config config = config_with(NULL, NULL, &unknown);
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "producer.linger.sm is no setting");
    config = config_with(NULL, NULL, &bad);
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "producer.linger.ms=soon is refused");
    config = config_with(&secret, NULL, NULL);
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK(strstr(err.text, "hunter2") == NULL);
    config = config_with(NULL, NULL, NULL);
    config.bootstrap_servers = "";
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "bootstrap.servers is empty");
}

static void lets_the_rest_through(void)
{
    struct err err = ERR_INIT;
    struct kafka_setting common = {"security.protocol", "SASL_SSL"},
                         verify = {"enable.ssl.certificate.verification", "true"};
    struct kafka_setting consumer = {"fetch.max.bytes", "1048576"}, producer = {"linger.ms", "20"};
    struct kafka_config config = config_with(&common, &consumer, &producer);
    CHECK_OK(kafka_config_check(&config, &err), err);
    config = config_with(&verify, NULL, NULL);
    CHECK_OK(kafka_config_check(&config, &err), err);
    config.bootstrap_servers = "embedded";
    CHECK_OK(kafka_config_check(&config, &err), err);
}

int main(void)
{
    CASE(refuses_what_runs_code_or_breaks_the_protocol);
    CASE(says_where_a_bad_setting_stands);
    CASE(lets_the_rest_through);
    return 0;
}
