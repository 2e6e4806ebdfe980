/* Lists for sessions that come with the question: the rules of an answer, over random questions, with and without a model. */
#include <unistd.h>

#include "app/config.h"
#include "app/app.h"
#include "app/sessions.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "tests/test.h"

enum { ITEMS = 300, SESSIONS = 400, LENGTH = 6 };

static struct options *options;
static struct settings settings;
static char folder[] = "/tmp/freshet-sessions-XXXXXX";

static void settings_open(void)
{
    struct err err = ERR_INIT;
    options = options_new(app_config_specs, app_config_count);
    CHECK_OK(options_set(options, "application.id", "test", "test", &err), err);
    CHECK_OK(settings_init(&settings, options, &err), err);
}

/* Sessions walk through neighbouring items. */
static void learn(struct sessions *sessions, struct rng *rng)
{
    for (int s = 1; s <= SESSIONS; s++) {
        int at = (int)rng_below(rng, ITEMS);
        for (int i = 0; i < LENGTH; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", (at + i) % ITEMS);
            const struct session_click click = {.session = (uint64_t)s,
                                                .tenant = STR(""),
                                                .item_id = str_of(id),
                                                .time_ms = 1700000000000 + s * 1000 + i,
                                                .weight = 1};
            sessions_click(sessions, &click);
        }
    }
}

/* Hides every seventh item. */
static bool is_listed(void *context, uint64_t key)
{
    (void)context;
    return key % 7 != 0;
}

static bool is_all_listed(void *context, uint64_t key)
{
    (void)context;
    (void)key;
    return true;
}

struct asked {
    char ids[16][16];
    struct event_item items[16];
    struct sessions_question question;
};

static void ask_random(struct asked *asked, struct rng *rng)
{
    int n = (int)rng_below(rng, 10);
    for (int i = 0; i < n; i++) {
        /* now and then an item that nobody knows */
        (void)snprintf(asked->ids[i], sizeof asked->ids[i], "%d",
                       (int)rng_below(rng, ITEMS + ITEMS / 10));
        asked->items[i] = (struct event_item){.item_id = str_of(asked->ids[i])};
    }
    asked->question = (struct sessions_question){.tenant = STR(""),
                                                 .items = asked->items,
                                                 .n_items = (size_t)n,
                                                 .n = 1 + (int)rng_below(rng, 30),
                                                 .has_repeats = rng_below(rng, 4) == 0,
                                                 .neighbours_only = rng_below(rng, 3) == 0,
                                                 .is_listed = is_listed};
}

static bool is_asked_with(const struct asked *asked, struct str id)
{
    for (size_t i = 0; i < asked->question.n_items; i++)
        if (str_equal(asked->items[i].item_id, id)) return true;
    return false;
}

static void answer_check(const struct asked *asked, const struct sessions_item *list, int n)
{
    CHECK(n > 0 && n <= asked->question.n);
    for (int i = 0; i < n; i++) {
        CHECK(list[i].id.len > 0);
        CHECK_HEX(list[i].key, schemas_item_key(STR(""), list[i].id));
        CHECK(is_listed(NULL, list[i].key));
        if (!asked->question.has_repeats) CHECK(!is_asked_with(asked, list[i].id));
        for (int j = 0; j < i; j++)
            CHECK(list[i].key != list[j].key);
    }
}

/* Each question is asked twice; nothing is allocated once the maps have grown. */
static void rules_hold(struct models *models, const char *name)
{
    struct rng rng;
    struct asked asked;
    struct sessions_item first[SESSIONS_LIST_MAX], second[SESSIONS_LIST_MAX];
    rng_init(&rng, TEST_SEED());
    struct sessions *sessions = sessions_new(&settings, models);
    learn(sessions, &rng);
    for (int i = 0; i < 200; i++) { /* working memory grows to the longest question */
        ask_random(&asked, &rng);
        (void)sessions_answer(sessions, &asked.question, first);
    }
    uint64_t before = mem_thread_count();
    for (int i = 0; i < 2000; i++) {
        ask_random(&asked, &rng);
        int n = sessions_answer(sessions, &asked.question, first);
        answer_check(&asked, first, n);
        CHECK_INT(sessions_answer(sessions, &asked.question, second), n);
        for (int k = 0; k < n; k++) {
            CHECK_HEX(first[k].key, second[k].key);
            CHECK_NEAR(first[k].score, second[k].score, 0);
        }
    }
    CHECK_INT(mem_thread_count() - before, 0);
    printf("  %s: 2000 questions\n", name);
    sessions_free(sessions);
}

static void rules_hold_without_a_model(void)
{
    rules_hold(NULL, "no model");
}

static void rules_hold_with_a_model(void)
{
    struct err err = ERR_INIT;
    struct models *models;
    const struct models_options from = {.folder = folder};
    CHECK(mkdtemp(folder));
    struct model *model = model_random(ITEMS, 32, 32, 1, 7);
    CHECK_OK(model_save(model, folder, &err), err);
    model_free(model);
    CHECK_OK(models_open(&models, &from, &err), err);
    rules_hold(models, "a model");
    models_close(models);
}

/* What sessions with the item went on to stands first. */
static void neighbours_are_found(void)
{
    struct rng rng;
    struct sessions_item list[SESSIONS_LIST_MAX];
    const struct event_item items[] = {{.item_id = STR("10")}, {.item_id = STR("11")}};
    const struct sessions_question question = {.tenant = STR(""),
                                               .items = items,
                                               .n_items = 2,
                                               .n = 5,
                                               .neighbours_only = true,
                                               .is_listed = is_all_listed};
    rng_init(&rng, 3);
    struct sessions *sessions = sessions_new(&settings, NULL);
    learn(sessions, &rng);
    int n = sessions_answer(sessions, &question, list);
    CHECK_INT(n, 5);
    CHECK_BYTES(list[0].id.ptr, list[0].id.len, "12", 2);
    CHECK_HEX(list[0].arms & 1u << ARM_NEIGHBOURS, 1u << ARM_NEIGHBOURS);
    sessions_free(sessions);
}

/* Of a long session the older items are not listed either. */
static void long_sessions_are_left_out_whole(void)
{
    enum { LONG = 250 };
    struct rng rng;
    char ids[LONG][16];
    struct event_item items[LONG];
    struct sessions_item list[SESSIONS_LIST_MAX];
    rng_init(&rng, 3);
    struct sessions *sessions = sessions_new(&settings, NULL);
    learn(sessions, &rng);
    for (int i = 0; i < LONG; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "%d", i);
        items[i] = (struct event_item){.item_id = str_of(ids[i])};
    }
    struct sessions_question question = {
        .tenant = STR(""), .items = items, .n_items = LONG, .n = 30, .is_listed = is_all_listed};
    for (int only = 0; only < 2; only++) {
        question.neighbours_only = only;
        int n = sessions_answer(sessions, &question, list);
        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%.*s", STR_ARG(list[i].id));
            CHECK(strtol(id, NULL, 10) >= LONG);
        }
    }
    sessions_free(sessions);
}

/* Popularity is of the tenant, and the newest clicks weigh most. */
static void popular_items_are_the_tenants(void)
{
    struct sessions_item list[SESSIONS_LIST_MAX];
    struct sessions *sessions = sessions_new(&settings, NULL);
    const int64_t week_ms = 7 * 86400000LL;
    for (int i = 0; i < 300; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        const struct session_click click = {
            .tenant = STR("t"), .item_id = str_of(id), .time_ms = i * week_ms, .weight = 1};
        sessions_click(sessions, &click);
    }
    struct sessions_question question = {.tenant = STR("t"), .n = 3, .is_listed = is_all_listed};
    CHECK_INT(sessions_popular(sessions, &question, list), 3);
    CHECK_BYTES(list[0].id.ptr, list[0].id.len, "299", 3);
    CHECK_BYTES(list[2].id.ptr, list[2].id.len, "297", 3);
    question.tenant = STR("");
    CHECK_INT(sessions_popular(sessions, &question, list), 0);
    sessions_free(sessions);
}

int main(void)
{
    settings_open();
    CASE(rules_hold_without_a_model);
    CASE(rules_hold_with_a_model);
    CASE(neighbours_are_found);
    CASE(long_sessions_are_left_out_whole);
    CASE(popular_items_are_the_tenants);
    settings_fini(&settings);
    options_free(options);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}
