/* Job J1: events in, a list out for each, through a real broker on the same machine.
 *
 *   j1_bench --freshet PATH --bootstrap HOST:PORT --work FOLDER [--items 50000] [--events 200000] [--users 20000]
 *            [--partitions 8] [--related 0] [--rate 0] [--seconds 30] [--seed 1] [--set key=value]...
 *
 * One-item Avro views of Zipf(1) users over uniformly Zipf items, window 50, a random `lru` model (d 64, 2 blocks), exact
 * top-20. Throughput (--rate 0): all events are in the topic before freshet starts; printed are events/s between its first
 * and last record, its whole CPU time (rusage, start included) for each event, and its own report. Latency (--rate R): events
 * are sent at planned times for --seconds, a consumer of the lists measures from the planned time of the triggering event,
 * so a stall counts against every event it delays. The slowest lists are then taken apart: how late the event was sent, how
 * long until freshet made the list (the list's Kafka timestamp, whole ms), how long until it was read.
 *
 * LINK: rdkafka */
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "emit/emit.h"
#include "kafka/kafka.h"
#include "model/model.h"
#include "schemas/schemas.h"

enum { SETS_MAX = 32, ID_MAX = 32, WARM_SECONDS = 3, STALLS_MAX = 12, STALL_GAP_MS = 50 };

struct bench {
    const char *freshet, *bootstrap, *work;
    int items, users, partitions;
    int related; /* 1: also what goes together, which needs two topics more */
    int64_t events;
    double rate, seconds;
    uint64_t seed;
    const char *sets[SETS_MAX];
    int n_sets;
    char topic[64], lists[64], dlq[64], related_topic[64], pairs_topic[96], application[64],
        model[512];
    double *user_cdf, *item_cdf;
    struct schemas *schemas;
    struct rng rng;
};

static void die(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "j1_bench: %s: %s\n", what, err->text);
    exit(1);
}

/* ---- events ---- */

static double *zipf_cdf(int n)
{
    double *cdf = mem_alloc((size_t)n * sizeof *cdf), sum = 0;
    for (int i = 0; i < n; i++)
        cdf[i] = sum += 1.0 / (i + 1);
    for (int i = 0; i < n; i++)
        cdf[i] /= sum;
    return cdf;
}

static int draw(struct rng *rng, const double *cdf, int n)
{
    double u = rng_unit(rng);
    int low = 0, high = n - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (cdf[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* planned_us goes into the event id, for the latency. */
static void event_send(struct bench *b, struct emit_feed *feed, struct buf *bytes, int64_t n,
                       uint64_t planned_us)
{
    char user[ID_MAX], item[ID_MAX], id[64];
    struct err err = ERR_INIT;
    (void)snprintf(user, sizeof user, "u%d", draw(&b->rng, b->user_cdf, b->users));
    (void)snprintf(item, sizeof item, "%d", draw(&b->rng, b->item_cdf, b->items));
    (void)snprintf(id, sizeof id, "%lld-%llu", (long long)n, (unsigned long long)planned_us);
    struct event_item one = {.item_id = str_of(item), .quantity = 1, .position = -1};
    struct event event = {.event_id = str_of(id),
                          .type = EVENT_VIEW,
                          .time_ms = (int64_t)(planned_us / 1000),
                          .user_id = str_of(user),
                          .items = &one,
                          .n_items = 1,
                          .consent = true};
    buf_reset(bytes);
    schemas_event_encode(b->schemas, &event, bytes);
    if (!emit_feed_send(feed, event.user_id, (struct str){(const char *)bytes->data, bytes->len},
                        event.time_ms, &err))
        die("send", &err);
}

static uint64_t wall_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* For latency the sender does not wait for company: its own linger is no latency of freshet's. */
static struct emit_feed *feed_open(struct bench *b)
{
    static const struct kafka_setting at_once[] = {{"linger.ms", "0"}};
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct kafka_config config = {.bootstrap_servers = b->bootstrap, .client_id = "j1-feed"};
    if (b->rate > 0) {
        config.producer = at_once;
        config.n_producer = 1;
    }
    if (!emit_feed_open(&feed, &config, b->topic, &err)) die("feed", &err);
    return feed;
}

static void feed_all(struct bench *b)
{
    struct buf bytes;
    struct err err = ERR_INIT;
    struct emit_feed *feed = feed_open(b);
    uint64_t now = wall_us();
    buf_init(&bytes, 1 << 16);
    for (int64_t n = 0; n < b->events; n++)
        event_send(b, feed, &bytes, n, now + (uint64_t)n);
    if (!emit_feed_close(feed, 60000, &err)) die("feed", &err);
    buf_fini(&bytes);
}

/* ---- the program under test ---- */

static void topics_make(struct bench *b)
{
    struct err err = ERR_INIT;
    struct kafka_config config = {.bootstrap_servers = b->bootstrap, .client_id = "j1"};
    struct kafka_topic_spec specs[] = {
        {.name = b->topic, .partitions = b->partitions, .replication = 1},
        {.name = b->lists, .partitions = b->partitions, .replication = 1},
        {.name = b->dlq, .partitions = 1, .replication = 1},
        {.name = b->related_topic, .partitions = b->partitions, .replication = 1},
        {.name = b->pairs_topic, .partitions = b->partitions, .replication = 1}};
    if (!kafka_topics_create(&config, specs, b->related ? 5 : 3, 20000, &err)) die("topics", &err);
}

static pid_t freshet_start(const struct bench *b, const char *ending, const char *value)
{
    char sets[10][640];
    const char *words[64];
    int n = 0, k = 0;
    (void)snprintf(sets[k++], sizeof sets[0], "application.id=%s", b->application);
    (void)snprintf(sets[k++], sizeof sets[0], "bootstrap.servers=%s", b->bootstrap);
    (void)snprintf(sets[k++], sizeof sets[0], "events.topics=%s", b->topic);
    (void)snprintf(sets[k++], sizeof sets[0], "recommendations.topic=%s", b->lists);
    (void)snprintf(sets[k++], sizeof sets[0], "state.dir=%s", b->work);
    (void)snprintf(sets[k++], sizeof sets[0], "model.dir=%s", b->model);
    (void)snprintf(sets[k++], sizeof sets[0], "related.topic=%s",
                   b->related ? b->related_topic : "");
    (void)snprintf(sets[k++], sizeof sets[0], "trending.topic=");
    (void)snprintf(sets[k++], sizeof sets[0], "session.window=50");
    (void)snprintf(sets[k++], sizeof sets[0], "log.level=warn");
    words[n++] = b->freshet;
    words[n++] = "run";
    words[n++] = "--report";
    words[n++] = ending;
    words[n++] = value;
    for (int i = 0; i < k; i++) {
        words[n++] = "--set";
        words[n++] = sets[i];
    }
    for (int i = 0; i < b->n_sets; i++) {
        words[n++] = "--set";
        words[n++] = b->sets[i];
    }
    words[n] = NULL;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execv(b->freshet, (char *const *)(uintptr_t)words);
        _exit(127);
    }
    return pid;
}

static void throughput(struct bench *b)
{
    char events[32];
    struct rusage usage;
    int status;
    feed_all(b);
    (void)snprintf(events, sizeof events, "%lld", (long long)b->events);
    pid_t pid = freshet_start(b, "--events", events);
    (void)waitpid(pid, &status, 0);
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    double cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("J1 items=%d events=%lld users=%d partitions=%d seed=%llu: exit %d, %.1f us of CPU an "
           "event (start included), "
           "peak RSS %ld MiB\n",
           b->items, (long long)b->events, b->users, b->partitions, (unsigned long long)b->seed,
           WEXITSTATUS(status), cpu * 1e6 / (double)b->events, usage.ru_maxrss / 1024);
}

/* ---- latency ---- */

/* One list's way, in ms from the start of the run (planned) and between the points behind it. */
struct sample {
    double planned;
    double late;  /* planned to sent */
    double made;  /* sent to list made */
    double back;  /* made to read */
    double total; /* planned to read */
};

static int compare_total(const void *a, const void *b)
{
    double x = ((const struct sample *)a)->total, y = ((const struct sample *)b)->total;
    return (x > y) - (x < y);
}

static int compare_planned(const void *a, const void *b)
{
    double x = ((const struct sample *)a)->planned, y = ((const struct sample *)b)->planned;
    return (x > y) - (x < y);
}

/* The slowest hundredth, sorted by total before: what stood in their way on average, and the stalls they belong to. */
static void slowest_print(struct sample *samples, int64_t n)
{
    struct sample *worst = samples + n * 99 / 100, sum = {0};
    int64_t m = n - n * 99 / 100, first = 0;
    for (int64_t i = 0; i < m; i++) {
        sum.late += worst[i].late / (double)m;
        sum.made += worst[i].made / (double)m;
        sum.back += worst[i].back / (double)m;
    }
    printf("   slowest 1 %%, mean ms: sent late %.2f, list made %.2f, read %.2f; stalls:\n",
           sum.late, sum.made, sum.back);
    qsort(worst, (size_t)m, sizeof *worst, compare_planned);
    for (int64_t i = 1, stalls = 0; i <= m && stalls < STALLS_MAX; i++) {
        if (i < m && worst[i].planned - worst[i - 1].planned < STALL_GAP_MS) continue;
        struct sample at = worst[first];
        for (int64_t j = first; j < i; j++)
            if (worst[j].total > at.total) at = worst[j];
        printf("   at %8.3f s: %3lld lists, the slowest %6.2f ms = late %.2f + made %.2f + read "
               "%.2f\n",
               at.planned / 1000, (long long)(i - first), at.total, at.late, at.made, at.back);
        first = i;
        stalls++;
    }
}

static rd_kafka_t *consumer_open(const struct bench *b)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *set[][2] = {{"bootstrap.servers", b->bootstrap}, {"group.id", "j1-reader"},
                            {"enable.auto.commit", "false"},     {"fetch.wait.max.ms", "5"},
                            {"auto.offset.reset", "earliest"},   {"socket.nagle.disable", "true"}};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        (void)rd_kafka_conf_set(conf, set[i][0], set[i][1], text, sizeof text);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(b->partitions);
    (void)rd_kafka_poll_set_consumer(client);
    for (int p = 0; p < b->partitions; p++)
        rd_kafka_topic_partition_list_add(list, b->lists, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return client;
}

/* The sample of one list; sent_us: when event n was sent, wall clock. false: of an event planned before `from_us`. */
static bool sample_make(const struct recommendations *list, const rd_kafka_message_t *message,
                        const uint64_t *sent_us, uint64_t from_us, struct sample *sample)
{
    uint64_t now = wall_us();
    const char *dash = memchr(list->trigger.event_id.ptr, '-', list->trigger.event_id.len);
    uint64_t planned = dash ? strtoull(dash + 1, NULL, 10) : 0;
    if (planned < from_us) return false;
    double sent = (double)sent_us[strtoull(list->trigger.event_id.ptr, NULL, 10)] / 1000;
    double made = (double)rd_kafka_message_timestamp(message, NULL), read = (double)now / 1000;
    *sample = (struct sample){.planned = (double)(planned - from_us) / 1000,
                              .late = sent - (double)planned / 1000,
                              .made = made - sent,
                              .back = read - made,
                              .total = read - (double)planned / 1000};
    return true;
}

/* Takes what has arrived; adds one sample for each list whose event was planned after `from_us`. */
static int64_t lists_take(struct bench *b, rd_kafka_t *client, int timeout_ms, struct arena *arena,
                          const uint64_t *sent_us, struct sample *samples, int64_t n,
                          uint64_t from_us)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(client, timeout_ms);
    for (; message; message = rd_kafka_consumer_poll(client, 0)) {
        struct recommendations list;
        struct err err = ERR_INIT;
        arena_reset(arena);
        if (!message->err && n < b->events &&
            schemas_recommendations_decode(b->schemas, (struct str){message->payload, message->len},
                                           arena, &list, &err))
            n += sample_make(&list, message, sent_us, from_us, &samples[n]);
        rd_kafka_message_destroy(message);
    }
    return n;
}

static void latency(struct bench *b)
{
    struct buf bytes;
    struct err err = ERR_INIT;
    int status;
    char seconds[32];
    b->events = (int64_t)(b->rate * b->seconds);
    struct sample *ms = mem_alloc((size_t)b->events * sizeof *ms);
    uint64_t *sent_us = mem_zalloc((size_t)b->events * sizeof *sent_us);
    struct arena *arena = arena_new(1 << 16, 1 << 24);
    (void)snprintf(seconds, sizeof seconds, "%.0f", b->seconds + 8);
    buf_init(&bytes, 1 << 16);
    pid_t pid = freshet_start(b, "--seconds", seconds);
    sleep(4);
    struct emit_feed *feed = feed_open(b);
    rd_kafka_t *client = consumer_open(b);
    uint64_t start = wall_us() + 500000, from = start + WARM_SECONDS * 1000000u;
    int64_t got = 0;
    for (int64_t n = 0; n < b->events; n++) {
        uint64_t planned = start + (uint64_t)((double)n * 1e6 / b->rate);
        while (wall_us() < planned)
            got = lists_take(b, client, 1, arena, sent_us, ms, got, from);
        event_send(b, feed, &bytes, n, planned);
        sent_us[n] = wall_us();
    }
    for (int i = 0; i < 20; i++)
        got = lists_take(b, client, 100, arena, sent_us, ms, got, from);
    if (!emit_feed_close(feed, 10000, &err)) die("feed", &err);
    (void)waitpid(pid, &status, 0);
    qsort(ms, (size_t)got, sizeof *ms, compare_total);
    int64_t due = b->events - (int64_t)(b->rate * WARM_SECONDS);
    printf("J1 latency items=%d at %.0f events/s for %.0f s, from the planned send time: %lld of "
           "%lld lists, p50 %.2f p90 %.2f "
           "p99 %.2f p99.9 %.2f max %.2f ms\n",
           b->items, b->rate, b->seconds, (long long)got, (long long)due, ms[got / 2].total,
           ms[got * 9 / 10].total, ms[got * 99 / 100].total, ms[got * 999 / 1000].total,
           ms[got - 1].total);
    slowest_print(ms, got);
    (void)rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    arena_free(arena);
    buf_fini(&bytes);
    mem_free(ms);
    mem_free(sent_us);
}

static void arguments_read(struct bench *b, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--freshet") == 0) b->freshet = value;
        if (strcmp(argv[i], "--bootstrap") == 0) b->bootstrap = value;
        if (strcmp(argv[i], "--work") == 0) b->work = value;
        if (strcmp(argv[i], "--items") == 0) b->items = (int)strtol(value, NULL, 10);
        if (strcmp(argv[i], "--users") == 0) b->users = (int)strtol(value, NULL, 10);
        if (strcmp(argv[i], "--partitions") == 0) b->partitions = (int)strtol(value, NULL, 10);
        if (strcmp(argv[i], "--related") == 0) b->related = (int)strtol(value, NULL, 10);
        if (strcmp(argv[i], "--events") == 0) b->events = strtoll(value, NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) b->seed = strtoull(value, NULL, 10);
        if (strcmp(argv[i], "--rate") == 0) b->rate = strtod(value, NULL);
        if (strcmp(argv[i], "--seconds") == 0) b->seconds = strtod(value, NULL);
        if (strcmp(argv[i], "--set") == 0 && b->n_sets < SETS_MAX) b->sets[b->n_sets++] = value;
    }
    if (!b->freshet || !b->bootstrap || !b->work) {
        (void)fprintf(stderr, "usage: j1_bench --freshet PATH --bootstrap HOST:PORT --work FOLDER "
                              "[...]; see the source\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.items = 50000,
                      .users = 20000,
                      .partitions = 8,
                      .events = 200000,
                      .seconds = 30,
                      .seed = 1};
    struct err err = ERR_INIT;
    struct schemas_options none = {0};
    arguments_read(&b, argc, argv);
    unsigned long long run = wall_us() / 1000;
    (void)snprintf(b.application, sizeof b.application, "j1-%llu", run);
    (void)snprintf(b.topic, sizeof b.topic, "j1-%llu.events", run);
    (void)snprintf(b.lists, sizeof b.lists, "j1-%llu.lists", run);
    (void)snprintf(b.dlq, sizeof b.dlq, "j1-%llu-dlq", run);
    (void)snprintf(b.related_topic, sizeof b.related_topic, "j1-%llu.related", run);
    (void)snprintf(b.pairs_topic, sizeof b.pairs_topic, "%s-pairs-repartition", b.application);
    (void)snprintf(b.model, sizeof b.model, "%s/j1-model-%d", b.work, b.items);
    rng_init(&b.rng, b.seed);
    b.user_cdf = zipf_cdf(b.users);
    b.item_cdf = zipf_cdf(b.items);
    if (!schemas_open(&b.schemas, &none, &err)) die("schemas", &err);
    struct model *model = model_random(b.items, 64, 128, 2, b.seed);
    if (!model_save(model, b.model, &err)) die("model", &err);
    model_free(model);
    topics_make(&b);
    if (b.rate > 0)
        latency(&b);
    else
        throughput(&b);
    schemas_close(b.schemas);
    mem_free(b.user_cdf);
    mem_free(b.item_cdf);
    return 0;
}
