/* Lists follow intent. The simulated shop tells which category a session is after and when that changes; a model learns from
 * the shop's past, the pipeline serves its present on the in-process broker, once with the model and once with popularity
 * alone. Asked: the share of the first items of a list that are of the new category, by the number of interactions since the
 * change.
 *
 * With sanitizers everything is small: then only the way through is tested, not what was learnt. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/config.h"
#include "app/pipeline.h"
#include "app/shop.h"
#include "app/sink.h"
#include "app/tap.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "tests/test.h"
#include "train/train.h"

#ifdef FRESHET_SANITIZED
enum { PAST = 2000, PRESENT = 500, EPOCHS = 1, LEARNS = 0 };
#else
enum { PAST = 60000, PRESENT = 6000, EPOCHS = 8, LEARNS = 1 };
#endif

enum {
    PARTITIONS = 4,
    SINCE_MAX = 4, /* interactions behind a change that are looked at */
    WAIT_MS = 30000,
};

/* What the test knows of an event of the present, and the list that followed it. */
struct seen {
    char user[TAP_TEXT];
    int64_t time_ms;
    enum event_type type;
    int intent;
    int since; /* interactions of the new intent so far, this one included; 0 none yet, -1 no change in this session */
    int before; /* the same user's event before; -1 none */
    int n;
    int category[TAP_LIST]; /* (n) of the list's items */
};

struct follow {
    struct kafka_embedded *broker;
    struct schemas *schemas;
    struct shop *shop;
    struct seen *seen; /* (PRESENT) */
    char folder[64], model[96];
};

/* ---- past: a model ---- */

static void past_write(struct follow *follow, const char *path)
{
    struct err err = ERR_INIT;
    struct shop_output output;
    struct sink *sink;
    struct sink_options options = {.target = SINK_TO_FILE, .path = path, .format = SINK_SESSIONS};
    CHECK_OK(sink_open(&sink, &options, &err), err);
    for (int n = 0; n < PAST;) {
        shop_next(follow->shop, &output);
        if (output.kind != SHOP_EVENT) continue;
        CHECK_OK(sink_event(sink, &output.event, &err), err);
        n++;
    }
    CHECK_OK(sink_finish(sink, &err), err);
    sink_free(sink);
}

static void model_learn(struct follow *follow, const char *log)
{
    struct err err = ERR_INIT;
    struct train_source source = {.paths = &log, .n_paths = 1, .kind = LOGFILE_SESSIONS};
    struct train_options options = train_options_default();
    struct train_data *data;
    struct train_result result;
    struct model *model;
    options.dim = options.hidden = 32;
    options.feed = 64;
    options.epochs = EPOCHS;
    CHECK_OK(train_data_read(&data, &source, &err), err);
    CHECK_OK(train_model(data, &options, NULL, NULL, &model, &result, &err), err);
    printf("  learnt from %llu positions: HR@10 %.3f\n", (unsigned long long)result.n_positions,
           result.hr10);
    CHECK_OK(model_save(model, follow->model, &err), err);
    model_free(model);
    train_data_free(data);
}

/* ---- present: events into the topic ---- */

static bool is_interaction(enum event_type type)
{
    return (train_window_types() >> type & 1) != 0;
}

/* Notes the truth behind event i. newest: user -> 1 + index of the user's newest event. */
static void truth_note(struct follow *follow, int i, const struct shop_output *output,
                       struct map_str *newest)
{
    struct seen *seen = &follow->seen[i];
    (void)snprintf(seen->user, sizeof seen->user, "%.*s", STR_ARG(output->event.user_id));
    seen->time_ms = output->event.time_ms;
    seen->type = output->event.type;
    seen->intent = output->intent;
    seen->before = (int)(intptr_t)map_str_get(newest, output->event.user_id) - 1;
    seen->since = output->intent_changed ? 0 : -1;
    if (!output->intent_changed && seen->before >= 0 &&
        follow->seen[seen->before].intent == seen->intent)
        seen->since = follow->seen[seen->before].since;
    if (seen->since >= 0 && is_interaction(seen->type)) seen->since++;
    (void)map_str_set(newest, output->event.user_id, (void *)(intptr_t)(i + 1));
}

static void present_send(struct follow *follow)
{
    struct err err = ERR_INIT;
    struct shop_output output;
    struct emit_feed *feed;
    struct buf bytes;
    struct kafka_config config = {.bootstrap_servers = kafka_embedded_bootstrap(follow->broker),
                                  .client_id = "feed"};
    struct map_str *newest = map_str_new(1 << 24, MAP_KEYS_COPIED);
    buf_init(&bytes, 1 << 20);
    CHECK_OK(emit_feed_open(&feed, &config, "freshet.events", &err), err);
    for (int n = 0; n < PRESENT;) {
        shop_next(follow->shop, &output);
        if (output.kind != SHOP_EVENT) continue;
        truth_note(follow, n++, &output, newest);
        buf_reset(&bytes);
        schemas_event_encode(follow->schemas, &output.event, &bytes);
        CHECK_OK(emit_feed_send(feed, output.event.user_id,
                                (struct str){(const char *)bytes.data, bytes.len},
                                output.event.time_ms, &err),
                 err);
    }
    CHECK_OK(emit_feed_close(feed, WAIT_MS, &err), err);
    buf_fini(&bytes);
    map_str_free(newest);
}

/* ---- the pipeline, and its lists ---- */

/* Puts a list beside its event; of two alike the first without a list. */
static void list_note(struct follow *follow, const struct tap_list *list)
{
    for (int i = 0; i < PRESENT; i++) {
        struct seen *seen = &follow->seen[i];
        if (seen->n || seen->time_ms != list->event_time_ms || seen->type != list->type ||
            strcmp(seen->user, list->user) != 0)
            continue;
        seen->n = list->n;
        for (int k = 0; k < list->n; k++)
            seen->category[k] = shop_truth_item_category(follow->shop, str_of(list->list[k]));
        return;
    }
    test_fail(__FILE__, __LINE__, "a list of user %s for no event", list->user);
}

static void set(struct options *options, const char *name, const char *value)
{
    struct err err = ERR_INIT;
    CHECK_OK(options_set(options, name, value, "test", &err), err);
}

static void serve(struct follow *follow, struct pipeline *pipeline, struct tap *tap)
{
    struct err err = ERR_INIT;
    struct tap_list list;
    int64_t records = 0;
    for (int ms = 0; ms < WAIT_MS && records < PRESENT; ms += 5) {
        CHECK_OK(pipeline_serve(pipeline, &err), err);
        records = counters_get(pipeline_counters(pipeline), METRIC_RECORDS, 0);
        sync_sleep_ms(5);
    }
    CHECK_INT(records, PRESENT);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    while (tap_take(tap, &list))
        list_note(follow, &list);
}

/* model "": popularity alone. */
static void lists_make(struct follow *follow, const char *name, const char *model)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    struct tap *tap = tap_new(PRESENT);
    struct options *options = options_new(app_config_specs, app_config_count);
    app_config_prefixes(options);
    set(options, "application.id", name);
    set(options, "bootstrap.servers", kafka_embedded_bootstrap(follow->broker));
    set(options, "recommendations.topic", name);
    set(options, "errors.deadletterqueue.topic.name", "dlq");
    set(options, "state.dir", follow->folder);
    set(options, "model.dir", model);
    if (!model[0]) set(options, "neighbours.enabled", "false");
    for (int i = 0; i < PRESENT; i++)
        follow->seen[i].n = 0;
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, tap, &err), err);
    serve(follow, pipeline, tap);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
    tap_free(tap);
}

/* ---- the question ---- */

/* share[s]: of the items in the list behind the s-th interaction of a new intent, those of its category; share[0] of the list
 * that stood before the first. n[s]: lists. */
struct shares {
    double share[SINCE_MAX + 1];
    int n[SINCE_MAX + 1];
};

static void share_add(struct shares *shares, int since, const struct seen *list, int category)
{
    int hits = 0;
    for (int k = 0; k < list->n; k++)
        hits += list->category[k] == category;
    if (list->n == 0) return;
    shares->share[since] += (double)hits / list->n;
    shares->n[since]++;
}

static struct shares shares_count(const struct follow *follow)
{
    struct shares shares = {0};
    for (int i = 0; i < PRESENT; i++) {
        const struct seen *seen = &follow->seen[i];
        if (!is_interaction(seen->type) || seen->since < 1 || seen->since > SINCE_MAX) continue;
        share_add(&shares, seen->since, seen, seen->intent);
        if (seen->since == 1 && seen->before >= 0)
            share_add(&shares, 0, &follow->seen[seen->before], seen->intent);
    }
    for (int s = 0; s <= SINCE_MAX; s++)
        if (shares.n[s]) shares.share[s] /= shares.n[s];
    return shares;
}

static void shares_print(const char *who, const struct shares *shares)
{
    printf("  %-10s share of the new category, before the change and after 1, 2, ... interactions:",
           who);
    for (int s = 0; s <= SINCE_MAX; s++)
        printf(" %.3f (%d)", shares->share[s], shares->n[s]);
    printf("\n");
}

static void lists_follow_intent(struct follow *follow)
{
    lists_make(follow, "popularity", "");
    struct shares popular = shares_count(follow);
    lists_make(follow, "encoder", follow->model);
    struct shares encoder = shares_count(follow);
    shares_print("popularity", &popular);
    shares_print("encoder", &encoder);
    CHECK(encoder.n[1] > 0 && popular.n[1] > 0);
    if (!LEARNS) {
        printf("  sanitizers: too little was learnt to ask for shares\n");
        return;
    }
    for (int s = 0; s <= 3; s++)
        CHECK(encoder.n[s] >= 30);
    CHECK(encoder.share[2] > 2.0 * encoder.share[0] && encoder.share[2] > encoder.share[0] + 0.2);
    CHECK(encoder.share[3] > 2.0 * encoder.share[0] && encoder.share[3] > encoder.share[0] + 0.2);
    CHECK(encoder.share[2] > 3.0 * popular.share[2] && encoder.share[3] > 3.0 * popular.share[3]);
}

static void follow_open(struct follow *follow, uint64_t seed)
{
    struct err err = ERR_INIT;
    struct schemas_options none = {0};
    struct shop_options shop = shop_options_default();
    struct kafka_topic_spec topics[] = {
        {.name = "freshet.events", .partitions = PARTITIONS, .replication = 1},
        {.name = "popularity", .partitions = 1, .replication = 1},
        {.name = "encoder", .partitions = 1, .replication = 1},
        {.name = "dlq", .partitions = 1, .replication = 1}};
    shop.seed = seed;
    shop.users = 800;
    shop.items = 400;
    shop.bots = shop.anonymous = 0; /* who logs in midway begins a new window */
    follow->shop = shop_new(&shop);
    follow->seen = mem_zalloc(PRESENT * sizeof *follow->seen);
    (void)snprintf(follow->folder, sizeof follow->folder, "/tmp/freshet-follow-XXXXXX");
    CHECK(mkdtemp(follow->folder) != NULL);
    (void)snprintf(follow->model, sizeof follow->model, "%s/model", follow->folder);
    CHECK_OK(kafka_embedded_start(&follow->broker, topics, 4, &err), err);
    CHECK_OK(schemas_open(&follow->schemas, &none, &err), err);
}

int main(void)
{
    struct follow follow = {0};
    char log[128], command[128];
    follow_open(&follow, TEST_SEED());
    (void)snprintf(log, sizeof log, "%s/past.tsv", follow.folder);
    past_write(&follow, log);
    model_learn(&follow, log);
    present_send(&follow);
    lists_follow_intent(&follow);
    schemas_close(follow.schemas);
    kafka_embedded_stop(follow.broker);
    shop_free(follow.shop);
    mem_free(follow.seen);
    (void)snprintf(command, sizeof command, "rm -r %s", follow.folder);
    CHECK_INT(system(command), 0);
    return 0;
}
