#include "tests/ingest/support.h"

#include <unistd.h>

#include "base/clock.h"

static rd_kafka_t *producer_new(struct cluster *cluster)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (cluster) {
        (void)rd_kafka_conf_set(conf, "bootstrap.servers", cluster->config.bootstrap_servers, why,
                                sizeof why);
        (void)rd_kafka_conf_set(conf, "linger.ms", "0", why, sizeof why);
    }
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    CHECK(client);
    return client;
}

/* New data do not wake a fetch that waits at the mock. */
static const struct kafka_setting quick[] = {{"fetch.wait.max.ms", "10"}};

void cluster_reset(struct cluster *cluster)
{
    cluster->config.consumer = quick;
    cluster->config.n_consumer = sizeof quick / sizeof quick[0];
}

void cluster_join(struct cluster *cluster, const char *bootstrap)
{
    struct err err = ERR_INIT;
    struct schemas_options schemas = {.events_format = FORMAT_AVRO,
                                      .recommendations_topic = "lists"};
    memset(cluster, 0, sizeof *cluster);
    cluster->config.bootstrap_servers = bootstrap;
    cluster_reset(cluster);
    cluster->producer = producer_new(cluster);
    CHECK_OK(schemas_open(&cluster->schemas, &schemas, &err), err);
}

void cluster_leave(struct cluster *cluster)
{
    schemas_close(cluster->schemas);
    rd_kafka_destroy(cluster->producer);
}

void cluster_start(struct cluster *cluster)
{
    rd_kafka_t *client = producer_new(NULL);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(client, 1);
    CHECK(mock);
    cluster_join(cluster, rd_kafka_mock_cluster_bootstraps(mock));
    cluster->client = client;
    cluster->mock = mock;
}

void cluster_stop(struct cluster *cluster)
{
    cluster_leave(cluster);
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->client);
}

static void produce_queue(struct cluster *cluster, const char *topic, int32_t partition,
                          const void *value, size_t size)
{
    union {
        const void *in;
        void *out;
    } bytes = {.in = value};
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {bytes.out, size}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = 1700000000000},
    };
    CHECK(rd_kafka_produceva(cluster->producer, parts, sizeof parts / sizeof parts[0]) == NULL);
}

static void produce_flush(struct cluster *cluster)
{
    CHECK_INT(rd_kafka_flush(cluster->producer, 10000), 0);
}

void produce_bytes(struct cluster *cluster, const char *topic, int32_t partition, const void *value,
                   size_t size)
{
    produce_queue(cluster, topic, partition, value, size);
    produce_flush(cluster);
}

static void click_queue(struct cluster *cluster, const char *topic, int32_t partition,
                        const char *user)
{
    struct buf bytes;
    struct event_item item = {.item_id = STR("item-1"), .quantity = 1, .position = -1};
    struct event event = {.type = EVENT_CLICK,
                          .time_ms = 1700000000000,
                          .items = &item,
                          .n_items = 1,
                          .consent = true};
    event.user_id = str_of(user);
    buf_init(&bytes, 1 << 16);
    schemas_event_encode(cluster->schemas, &event, &bytes);
    produce_queue(cluster, topic, partition, bytes.data, bytes.len);
    buf_fini(&bytes);
}

void produce_click(struct cluster *cluster, const char *topic, int32_t partition, const char *user)
{
    click_queue(cluster, topic, partition, user);
    produce_flush(cluster);
}

void produce_clicks(struct cluster *cluster, const char *topic, int32_t partition, int n)
{
    for (int i = 0; i < n; i++) {
        char user[32];
        (void)snprintf(user, sizeof user, "user-%d", i);
        click_queue(cluster, topic, partition, user);
    }
    produce_flush(cluster);
}

/* ---- the application ---- */

static bool on_assigned(void *context, int32_t partition, int64_t *next, struct err *err)
{
    struct app *app = context;
    app->assigned++;
    if (app->refuse) return err_fatal(err, ERR_EXIT_STORE, "the store is of another cluster");
    for (int t = 0; t < app->options.n_topics; t++)
        next[t] = app->next[t][partition];
    return true;
}

static void on_revoked(void *context, int32_t partition, bool lost)
{
    struct app *app = context;
    (void)partition;
    app->revoked++;
    app->lost += lost;
}

void app_name(struct app *app, int n_topics, int shards)
{
    uint64_t unique = clock_mono_ns();
    memset(app, 0, sizeof *app);
    (void)snprintf(app->names[0], sizeof app->names[0], "clicks-%d-%" PRIu64, (int)getpid(),
                   unique);
    (void)snprintf(app->names[1], sizeof app->names[1], "orders-%d-%" PRIu64, (int)getpid(),
                   unique);
    (void)snprintf(app->group, sizeof app->group, "group-%d-%" PRIu64, (int)getpid(), unique);
    app->topics[0] = app->names[0];
    app->topics[1] = app->names[1];
    app->options = (struct ingest_options){.group_id = app->group,
                                           .topics = app->topics,
                                           .n_topics = n_topics,
                                           .shards = shards,
                                           .start = INGEST_EARLIEST,
                                           .max_future_ms = 60000,
                                           .batch_max = 100,
                                           .patience_ms = 10000,
                                           .session_timeout_ms = 4000};
    memset(app->next, 0xff, sizeof app->next);
}

void app_init(struct app *app, struct cluster *cluster, int n_topics, int shards)
{
    app_name(app, n_topics, shards);
    for (int t = 0; t < n_topics; t++)
        CHECK_INT(rd_kafka_mock_topic_create(cluster->mock, app->names[t], PARTITIONS, 1), 0);
}

bool app_try_open(struct app *app, struct cluster *cluster, struct err *err)
{
    const struct ingest_callbacks callbacks = {app, on_assigned, on_revoked, NULL};
    return ingest_open(&app->ingest, &cluster->config, &app->options, cluster->schemas, &callbacks,
                       err);
}

void app_open(struct app *app, struct cluster *cluster, int partitions)
{
    struct err err = ERR_INIT;
    uint64_t until = clock_mono_ns() + 30000000000u;
    int before = app->assigned;
    CHECK_OK(app_try_open(app, cluster, &err), err);
    while (app->assigned - before < partitions && clock_mono_ns() < until)
        CHECK_OK(ingest_serve(app->ingest, 50, &err), err);
    CHECK_INT(app->assigned - before, partitions);
}

int app_take_shard(struct app *app, int shard, struct err *err)
{
    struct ingest_batch batch;
    if (!ingest_poll(app->ingest, shard, 5, &batch, err)) return -1;
    for (int i = 0; i < batch.n; i++) {
        const struct ingest_record *record = &batch.records[i];
        int64_t *next = &app->next[record->topic][record->partition];
        CHECK_INT(record->partition % app->options.shards, shard);
        if (*next >= 0 && !app->options.transactional_source && app->options.on_gap == GAP_FAIL)
            CHECK_INT(record->offset, *next);
        *next = record->offset + 1;
    }
    int n = batch.n;
    ingest_batch_release(app->ingest, shard, &batch);
    return n;
}

int app_take(struct app *app, int n)
{
    struct err err = ERR_INIT;
    uint64_t until = clock_mono_ns() + 10000000000u;
    int got = 0;
    while (got < n && clock_mono_ns() < until) {
        CHECK_OK(ingest_serve(app->ingest, 0, &err), err);
        for (int s = 0; s < app->options.shards; s++) {
            int took = app_take_shard(app, s, &err);
            if (took < 0) test_fail(__FILE__, __LINE__, "poll failed: %s", err.text);
            got += took;
        }
    }
    return got;
}

void app_await_failure(struct app *app, struct err *err)
{
    uint64_t until = clock_mono_ns() + 20000000000u;
    while (clock_mono_ns() < until) {
        if (!ingest_serve(app->ingest, 10, err)) return;
        for (int s = 0; s < app->options.shards; s++)
            if (app_take_shard(app, s, err) < 0) return;
    }
    test_fail(__FILE__, __LINE__, "no failure within 20 s");
}

void app_close(struct app *app)
{
    ingest_close(app->ingest);
    app->ingest = NULL;
}
