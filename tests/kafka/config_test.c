/* Settings: what is refused and why, what goes through, what a bad value says, what holds in the end. */
#include "kafka/internal.h"
#include "tests/test.h"

/* LINK: rdkafka */

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

/* The setting is refused wherever it stands, with why and what to do. */
static void expect_refused(const char *key, const char *value, const char *why, const char *instead)
{
    static const char *const places[] = {"", "consumer.", "producer."};
    const struct kafka_setting s = {key, value};
    struct kafka_config configs[] = {config_with(&s, NULL, NULL), config_with(NULL, &s, NULL),
                                     config_with(NULL, NULL, &s)};
    for (int p = 0; p < 3; p++) {
        struct err err = ERR_INIT;
        char named[128];
        (void)snprintf(named, sizeof named, "%s%s is refused: ", places[p], key);
        CHECK_FAIL(kafka_config_check(&configs[p], &err), err, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
        CHECK_CONTAINS(err.text, named);
        CHECK_CONTAINS(err.text, why);
        CHECK_CONTAINS(err.text, instead);
    }
}

static void refuses_by_name(void)
{
    for (size_t i = 0; i < kafka__n_refusals; i++) {
        const struct kafka__refusal *r = &kafka__refusals[i];
        char topic_key[96];
        CHECK(r->why[0] != '\0' && r->instead[0] != '\0');
        expect_refused(r->key, "1", r->why, r->instead);
        /* librdkafka takes this for the same. */
        (void)snprintf(topic_key, sizeof topic_key, "topic.%s", r->key);
        expect_refused(topic_key, "1", r->why, r->instead);
    }
    expect_refused("sasl.oauthbearer.token.endpoint.url", "http://idp/token", "in the clear",
                   "https://");
}

/* Each way to spell a value that librdkafka knows. */
static void refuses_by_value(void)
{
    static const struct kafka_setting refused[] = {
        {"enable.ssl.certificate.verification", "false"},
        {"enable.ssl.certificate.verification", "FALSE"},
        {"enable.ssl.certificate.verification", "f"},
        {"enable.ssl.certificate.verification", "0"},
        {"ssl.endpoint.identification.algorithm", "none"},
        {"ssl.endpoint.identification.algorithm", "None"},
        {"enable.sasl.oauthbearer.unsecure.jwt", "true"},
        {"enable.sasl.oauthbearer.unsecure.jwt", "1"},
        {"enable.sasl.oauthbearer.unsecure.jwt", "t"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct kafka__wanted *w = kafka__wanted;
        while (strcmp(w->key, refused[i].key) != 0)
            w++;
        struct kafka_config places[] = {config_with(&refused[i], NULL, NULL),
                                        config_with(NULL, &refused[i], NULL),
                                        config_with(NULL, NULL, &refused[i])};
        for (int p = 0; p < 3; p++) {
            struct err err = ERR_INIT;
            CHECK_FAIL(kafka_config_check(&places[p], &err), err, ERR_FATAL);
            CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
            CHECK_CONTAINS(err.text, w->key);
            CHECK_CONTAINS(err.text, w->why);
            CHECK_CONTAINS(err.text, w->instead);
        }
    }
}

/* ---- every property that the installed librdkafka has ---- */

/* Those that may be set: they change speed, size, waiting, addresses, and who one is, but neither what is read nor what is
 * promised. A property that is neither here nor refused fails the test: a newer librdkafka may have brought it. */
static const char *const allowed[] = {
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "builtin.features",
    "api.version.request.timeout.ms",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.random.seed",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "linger.ms",
    "log.connection.close",
    "log.thread.name",
    "log_level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
};

static bool is_allowed(const char *key)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (strcmp(allowed[i], key) == 0) return true;
    return false;
}

static bool is_wanted(const char *key)
{
    for (size_t i = 0; i < kafka__n_wanted; i++)
        if (strcmp(kafka__wanted[i].key, key) == 0) return true;
    return false;
}

/* A callback or the like, which no text can set. */
static bool is_pointer(const char *key)
{
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, key, "x", why, sizeof why);
    rd_kafka_conf_destroy(conf);
    return result == RD_KAFKA_CONF_INVALID &&
           (strstr(why, "must be set through") || strstr(why, "not settable"));
}

/* One property of the list: refused, or a pointer, or known to do no harm. */
static void judge(const char *key)
{
    struct err err = ERR_INIT;
    const struct kafka_setting setting = {key, "https://x"};
    bool is_refused = !kafka__setting_check(&setting, "", &err);
    int n = (is_refused || is_pointer(key)) + is_allowed(key) + is_wanted(key);
    if (n != 1)
        test_fail(__FILE__, __LINE__, "%s: refused %d, pointer %d, allowed %d, by value %d", key,
                  is_refused, is_pointer(key), is_allowed(key), is_wanted(key));
}

static void knows_every_property(void)
{
    char line[4096];
    int n = 0;
    FILE *list = tmpfile();
    CHECK(list != NULL);
    rd_kafka_conf_properties_show(list);
    rewind(list);
    while (fgets(line, sizeof line, list)) {
        size_t len = strcspn(line, " |");
        if (line[0] < 'a' || line[0] > 'z' || !strchr(line, '|')) continue;
        line[len] = '\0';
        judge(line);
        n++;
    }
    (void)fclose(list);
    printf("  %d properties of librdkafka %s\n", n, rd_kafka_version_str());
    CHECK(n > 140);
}

/* What the protocol rests on holds whatever else is set. */
static void forces_what_the_protocol_needs(void)
{
    static const struct kafka_setting wanted[][9] = {
        [KAFKA_CONSUMER] = {{"enable.auto.commit", "false"},
                            {"enable.auto.offset.store", "false"},
                            {"auto.offset.reset", "error"},
                            {"isolation.level", "read_committed"},
                            {"partition.assignment.strategy", "range"},
                            {"allow.auto.create.topics", "false"},
                            {"check.crcs", "true"},
                            {"sasl.kerberos.min.time.before.relogin", "0"}},
        [KAFKA_PRODUCER] = {{"enable.idempotence", "true"},
                            {"acks", "-1"},
                            {"max.in.flight", "1"},
                            {"partitioner", "murmur2_random"},
                            {"queuing.strategy", "fifo"},
                            {"sasl.kerberos.min.time.before.relogin", "0"}},
    };
    struct kafka_config config = config_with(NULL, NULL, NULL);
    for (int role = KAFKA_CONSUMER; role <= KAFKA_PRODUCER; role++) {
        struct err err = ERR_INIT;
        rd_kafka_conf_t *conf = kafka_client_conf(&config, (enum kafka_role)role, NULL, 0, &err);
        CHECK(conf != NULL);
        for (const struct kafka_setting *s = wanted[role]; s->key; s++) {
            char value[64] = "";
            size_t size = sizeof value;
            CHECK_INT(rd_kafka_conf_get(conf, s->key, value, &size), RD_KAFKA_CONF_OK);
            if (strcmp(value, s->value) != 0)
                test_fail(__FILE__, __LINE__, "%s is %s, not %s", s->key, value, s->value);
        }
        rd_kafka_conf_destroy(conf);
    }
}

/* A record's time never exceeds its transaction's, also when the user wants it without end. */
static void bounds_the_message_timeout(void)
{
    static const struct kafka_setting own = {"transactional.id", "x"};
    static const char *const given[] = {"0", "600000", "1000"}, *const get[] = {"60000", "60000",
                                                                                "1000"};
    for (int i = 0; i < 3; i++) {
        struct err err = ERR_INIT;
        char value[32];
        size_t size = sizeof value;
        const struct kafka_setting timeout = {"message.timeout.ms", given[i]};
        struct kafka_config config = config_with(NULL, NULL, &timeout);
        rd_kafka_conf_t *conf = kafka_client_conf(&config, KAFKA_PRODUCER, &own, 1, &err);
        CHECK(conf != NULL);
        CHECK_INT(rd_kafka_conf_get(conf, "message.timeout.ms", value, &size), RD_KAFKA_CONF_OK);
        CHECK_STR(value, get[i]);
        rd_kafka_conf_destroy(conf);
    }
}

/* An answer to a fetch has room for the longest record that the user allows. */
static void bounds_an_answer(void)
{
    static const char *const longest[] = {"1000000", "8000000"}, *const get[] = {"4194304",
                                                                                 "8000000"};
    for (int i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        const struct kafka_setting message = {"message.max.bytes", longest[i]};
        struct kafka_config config = config_with(NULL, &message, NULL);
        rd_kafka_conf_t *conf = kafka_client_conf(&config, KAFKA_CONSUMER, NULL, 0, &err);
        char text[32];
        CHECK(conf != NULL);
        (void)snprintf(text, sizeof text, "%d", kafka_conf_number(conf, "fetch.max.bytes"));
        CHECK_STR(text, get[i]);
        struct kafka_notes notes;
        kafka_notes_init(&notes, true, NULL);
        rd_kafka_t *client = kafka_client_new(conf, KAFKA_CONSUMER, &notes, &err);
        CHECK(client != NULL); /* librdkafka refuses a smaller one here */
        CHECK(kafka_client_free(client, 5000));
        kafka_notes_fini(&notes);
    }
}

static void says_where_a_bad_setting_stands(void)
{
    struct err err = ERR_INIT;
    struct kafka_setting unknown = {"linger.sm", "1"}, bad = {"linger.ms", "soon"};
    struct kafka_setting secret = {"oauthbearer_token_refresh_cb", "hunter2"};
    struct kafka_config config = config_with(NULL, NULL, &unknown);
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "producer.linger.sm is no setting");
    config = config_with(NULL, NULL, &bad);
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "producer.linger.ms=soon is refused");
    const struct kafka_setting both[] = {{"message.max.bytes", "8000000"},
                                         {"fetch.max.bytes", "5000000"}};
    config = config_with(NULL, both, NULL);
    config.n_consumer = 2;
    CHECK_FAIL(kafka_config_check(&config, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text,
                   "fetch.max.bytes=5000000 has no room for a record of message.max.bytes=8000000");
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
    CASE(refuses_by_name);
    CASE(refuses_by_value);
    CASE(knows_every_property);
    CASE(forces_what_the_protocol_needs);
    CASE(bounds_the_message_timeout);
    CASE(bounds_an_answer);
    CASE(says_where_a_bad_setting_stands);
    CASE(lets_the_rest_through);
    return 0;
}
