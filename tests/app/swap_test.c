/* Models on the in-process broker: another one while the pipeline runs; states that memory has no room for.
 *
 * LINK: rdkafka */
#include <string.h>

#include "base/mem.h"
#include "base/sync.h"
#include "tests/app/live.h"

/* States too large to be stored: what comes out is the same whether memory holds all of them or hardly any. */
static void lists_do_not_depend_on_memory(void)
{
    /* 10,384 floats: too many to be stored. Windows of 30 go past the 16 positions. */
    static const struct model_config attention = {.N = LIVE_ITEMS,
                                                  .D = 64,
                                                  .H = 64,
                                                  .L = 5,
                                                  .F = 64,
                                                  .encoder = ENCODER_ATTENTION,
                                                  .heads = 2,
                                                  .positions = 16,
                                                  .window = 16};
    live_model_put("large", &attention, 9, false);
    int64_t prefills[2];
    for (int scarce = 0; scarce < 2; scarce++) {
        struct options *options =
            live_options(scarce ? "scarce" : "large", scarce ? "lists-e" : "lists-d", "64");
        live_model_set(options, "large");
        live_set(options, "statestore.cache.max.bytes", scarce ? "1MiB" : "64MiB");
        live_set(options, "num.stream.threads", scarce ? "2" : "1");
        prefills[scarce] = live_run(options, live_shop.sent, METRIC_PREFILLS);
    }
    printf("  windows encoded: %lld with memory for all states, %lld without\n",
           (long long)prefills[0], (long long)prefills[1]);
    CHECK(prefills[1] > prefills[0] + 100);
    live_lists_compare("lists-d", "lists-e");
}

/* ---- another model while the pipeline runs ---- */

/* A store's user against the models: the state, if it is stored, is the prefill of the window by the model whose id it has. */
struct states_check {
    struct model *models[2];
    struct model_scratch *scratch[2];
    int n[2]; /* users of each */
};

static bool user_check(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct states_check *check = context;
    int which = user->model_id == model_info(check->models[1]).id, n = 0;
    const struct model *model = check->models[which];
    struct model_input inputs[64];
    (void)partition;
    (void)key;
    /* A shorter one's state is not stored. */
    if (user->n_window < settings_stored_window(model_info(model).D)) return true;
    CHECK_HEX(user->model_id, model_info(model).id);
    for (int i = 0, before = -1; i < user->n_window; i++) {
        int32_t item = model_item_index(model, user->window[i].item);
        if (item < 0) continue;
        int64_t gap = before < 0 ? 0 : user->window[i].time_ms - user->window[before].time_ms;
        inputs[n++] = (struct model_input){item, user->window[i].type, gap > 0 ? gap : 0};
        before = i;
    }
    size_t bytes = (size_t)model_info(model).S * sizeof(float);
    float *state = mem_aligned(64, bytes);
    model_prefill(model, check->scratch[which], n, inputs, state);
    CHECK_BYTES(user->encoder, bytes, state, bytes);
    mem_free(state);
    check->n[which]++;
    return true;
}

static void states_check(const char *name)
{
    struct err err = ERR_INIT;
    struct states_check check = {0};
    struct state *state;
    char path[96];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", live_shop.folder, i ? "second" : "model");
        CHECK_OK(model_load(&check.models[i], path, &err), err);
        check.scratch[i] = model_scratch_new(check.models[i]);
    }
    (void)snprintf(path, sizeof path, "%s/%s", live_shop.folder, name);
    CHECK_OK(state_open_readonly(&state, path, &err), err);
    CHECK_OK(state_users_each(state, user_check, &check, &err), err);
    state_close(state);
    printf("  %d users of the first model, %d of the second\n", check.n[0], check.n[1]);
    CHECK(check.n[0] > 0 && check.n[1] > 0);
    for (int i = 0; i < 2; i++) {
        model_scratch_free(check.scratch[i]);
        model_free(check.models[i]);
    }
}

/* Every list has the bytes of the one from the same event in the topic of the model that made it. Returns how many are of
 * the second. */
static int versions_compare(const char *swapped, const char *first, const char *second)
{
    struct live_list *all, *of[2], *same;
    int n = live_lists_read(swapped, &all),
        m[2] = {live_lists_read(first, &of[0]), live_lists_read(second, &of[1])};
    int n_second = 0;
    CHECK_INT(n, m[0]);
    CHECK_INT(n, m[1]);
    for (int i = 0; i < n; i++) {
        int which =
            all[i].len != of[0][i].len || memcmp(all[i].value, of[0][i].value, all[i].len) != 0;
        same = &of[which][i];
        CHECK_STR(all[i].source, same->source);
        CHECK_BYTES(all[i].value, all[i].len, same->value, same->len);
        n_second += which;
    }
    mem_free(all);
    mem_free(of[0]);
    mem_free(of[1]);
    return n_second;
}

/* A model of another size comes while the pipeline runs: the lists before are those of a pipeline that has the first model, the
 * lists after are those of one that had the second all along, none is missing and none is there twice; users with events
 * since then have states of the second. One of the two has a ranker. */
static void another_model_while_running(bool first_ranks, const char *const *names,
                                        const char *const *lists)
{
    struct err err = ERR_INIT;
    struct settings settings;
    struct pipeline *pipeline;
    live_lru_put("model", 32, 32, 2, 7, first_ranks);
    live_lru_put("swapped", 32, 32, 2, 7, first_ranks); /* the same */
    live_lru_put("second", 48, 16, 1, 8, !first_ranks);
    struct options *options = live_options(names[0], lists[0], "64");
    live_model_set(options, "swapped");
    live_set(options, "model.check.interval.ms", "20");
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(pipeline_open(&pipeline, &settings, NULL, &err), err);
    live_until(pipeline, live_shop.sent);
    live_lru_put("swapped", 48, 16, 1, 8, !first_ranks);
    while (live_count(pipeline, METRIC_MODELS_LOADED) == 0)
        sync_sleep_ms(10);
    sync_sleep_ms(300); /* idle shards look every 50 ms */
    uint64_t before = live_shop.sent;
    live_events_send(30, first_ranks ? 301 : 300); /* so that some users have none */
    live_until(pipeline, before + 30);
    CHECK_OK(pipeline_finish(pipeline, &err), err);
    CHECK_INT(live_count(pipeline, METRIC_MODELS_REFUSED), 0);
    pipeline_close(pipeline);
    settings_fini(&settings);
    options_free(options);
    states_check(names[0]);
    live_plain(names[1], lists[1], "64", live_shop.sent);
    options = live_options(names[2], lists[2], "64");
    live_model_set(options, "second");
    (void)live_run(options, live_shop.sent, METRIC_RECORDS);
    int n = versions_compare(lists[0], lists[1], lists[2]);
    printf("  %d lists of the second model\n", n);
    CHECK(n > 20 && n <= 30);
}

static void a_model_brings_a_ranker(void)
{
    another_model_while_running(false, (const char *const[]){"brings", "first", "second"},
                                (const char *const[]){"lists-a", "lists-b", "lists-c"});
}

static void a_model_drops_the_ranker(void)
{
    another_model_while_running(true, (const char *const[]){"drops", "first-ranks", "second-fuses"},
                                (const char *const[]){"lists-f", "lists-g", "lists-h"});
}

int main(void)
{
    live_open();
    live_events_send(1300, TEST_SEED());
    CASE(a_model_brings_a_ranker);
    CASE(a_model_drops_the_ranker);
    CASE(lists_do_not_depend_on_memory);
    live_close();
    return 0;
}
