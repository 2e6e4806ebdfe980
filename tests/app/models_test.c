/* The model in use: a changed folder is taken over once it is whole, a bad one refused, the one before freed when let go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/models.h"
#include "base/log.h"
#include "base/sync.h"
#include "tests/test.h"

enum { ITEMS = 50, WAIT_MS = 20000, QUIET_MS = 600, INTERVAL_MS = 80 };

/* The folder that is looked at is <base>/model; others are made beside it. */
static char base[64], folder[80];

static void folder_new(void)
{
    (void)snprintf(base, sizeof base, "/tmp/freshet-models-XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    (void)snprintf(folder, sizeof folder, "%s/model", base);
}

/* A shell command in the base folder. */
static void shell(const char *command)
{
    char line[512];
    (void)snprintf(line, sizeof line, "cd %s && %s", base, command);
    CHECK_INT(system(line), 0);
}

/* Writes a random model of that width, seed and tenant to <base>/<name>. Returns its id. */
static uint64_t save_as(const char *name, int width, uint64_t seed, const char *tenant)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", base, name);
    struct err err = ERR_INIT;
    struct model *random = model_random(ITEMS, width, width, 1, seed), *model;
    struct str ids[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        ids[i] = model_item_id(random, i);
    struct model_parts parts = {.config = model_shape(random),
                                .params = model_raw_params(random),
                                .item_ids = ids,
                                .tenant = tenant,
                                .version = "v"};
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    CHECK_OK(model_save(model, path, &err), err);
    uint64_t id = model_info(model).id;
    model_free(model);
    model_free(random);
    return id;
}

static uint64_t save(int width, uint64_t seed)
{
    return save_as("model", width, seed, "");
}

static struct models *open_models(int64_t interval_ms)
{
    struct err err = ERR_INIT;
    struct models *models = NULL;
    struct models_options options = {.folder = folder, .interval_ms = interval_ms};
    CHECK_OK(models_open(&models, &options, &err), err);
    return models;
}

static void close_models(struct models *models)
{
    models_close(models);
    char command[80];
    (void)snprintf(command, sizeof command, "rm -r %s", base);
    CHECK_INT(system(command), 0);
}

static uint64_t newest_id(struct models *models)
{
    const struct model *model = models_take(models);
    uint64_t id = model_info(model).id;
    models_release(models, model);
    return id;
}

/* Waits until so many were loaded and refused; more are a failure at once. */
static void wait_counts(struct models *models, int loaded, int refused)
{
    for (int ms = 0; ms < WAIT_MS; ms += 5) {
        struct models_counts now = models_counts(models);
        CHECK(now.loaded <= loaded && now.refused <= refused);
        if (now.loaded == loaded && now.refused == refused) return;
        sync_sleep_ms(5);
    }
    struct models_counts now = models_counts(models);
    test_fail(__FILE__, __LINE__, "%d loaded and %d refused, %d and %d wanted", (int)now.loaded,
              (int)now.refused, loaded, refused);
}

static void check_stays(struct models *models, int loaded, int refused)
{
    sync_sleep_ms(QUIET_MS);
    wait_counts(models, loaded, refused);
}

/* The folder changes: the newest is another, of another width too; who holds the one before may use it until he lets go. */
static void follows_the_folder(void)
{
    folder_new();
    uint64_t a = save(16, 1), b;
    struct models *models = open_models(INTERVAL_MS);
    const struct model *first = models_take(models);
    CHECK_HEX(model_info(first).id, a);
    CHECK(!models_has_newer(models, first));
    b = save(32, 2);
    wait_counts(models, 1, 0);
    CHECK(models_has_newer(models, first));
    CHECK_HEX(newest_id(models), b);
    CHECK_HEX(model_info(first).id, a); /* still whole: ASan would tell */
    CHECK_INT(model_item_index(first, model_item_key(first, 7)), 7);
    models_release(models, first);
    a = save(16, 3);
    wait_counts(models, 2, 0);
    CHECK_HEX(newest_id(models), a);
    check_stays(models, 2, 0); /* nothing changes: nothing is loaded */
    close_models(models);
}

/* Truncated, of another tenant, no JSON: refused, once each; the one in use stays, and a good one is taken afterwards. */
static void refuses_what_is_bad(void)
{
    folder_new();
    uint64_t a = save(16, 1), b = save_as("b", 32, 2, "");
    struct models *models = open_models(INTERVAL_MS);
    shell("cp -r b cut && truncate -s 1000 cut/model.safetensors && cp cut/* model");
    wait_counts(models, 0, 1);
    check_stays(models, 0, 1);
    CHECK_HEX(newest_id(models), a);
    shell("cp b/model.safetensors model"); /* what was missing comes later */
    wait_counts(models, 1, 1);
    CHECK_HEX(newest_id(models), b);
    (void)save_as("model", 16, 3, "other");
    wait_counts(models, 1, 2);
    shell("echo '{' > model/model.json");
    wait_counts(models, 1, 3);
    CHECK_HEX(newest_id(models), b);
    shell("rm -r model"); /* no folder at all is no model: nothing to load, nothing to refuse */
    check_stays(models, 1, 3);
    a = save(16, 4);
    wait_counts(models, 2, 3);
    CHECK_HEX(newest_id(models), a);
    close_models(models);
}

/* Without a timer the folder is looked at when told, and then always. */
static void loads_when_told(void)
{
    folder_new();
    uint64_t a = save(16, 1), b;
    struct models *models = open_models(0);
    b = save(16, 2);
    check_stays(models, 0, 0);
    CHECK_HEX(newest_id(models), a);
    models_reload(models);
    wait_counts(models, 1, 0);
    CHECK_HEX(newest_id(models), b);
    models_reload(models); /* the same once more */
    check_stays(models, 1, 0);
    shell("truncate -s 1000 model/model.safetensors");
    models_reload(models);
    wait_counts(models, 1, 1);
    CHECK_HEX(newest_id(models), b);
    close_models(models);
}

struct follower {
    struct thread thread;
    struct models *models;
    struct flag *stop;
    int taken;
};

/* As a shard does: uses its model, takes a newer one when there is one. */
static void follow(void *context)
{
    struct follower *follower = context;
    const struct model *model = models_take(follower->models);
    while (!flag_is_raised(follower->stop)) {
        CHECK_INT(model_info(model).N, ITEMS);
        CHECK_INT(model_item_index(model, model_item_key(model, 7)), 7);
        if (!models_has_newer(follower->models, model)) continue;
        models_release(follower->models, model);
        model = models_take(follower->models);
        follower->taken++;
    }
    models_release(follower->models, model);
}

/* Several followers through many models: each ends with the last, none met a freed one (ASan and TSan would tell). */
static void followers(void)
{
    enum { FOLLOWERS = 3, MODELS = 12 };
    struct follower all[FOLLOWERS];
    struct flag stop = {0};
    struct err err = ERR_INIT;
    folder_new();
    (void)save(16, 1);
    struct models *models = open_models(0);
    for (int i = 0; i < FOLLOWERS; i++) {
        all[i] = (struct follower){.models = models, .stop = &stop};
        CHECK_OK(thread_start(&all[i].thread, "follower", follow, &all[i], &err), err);
    }
    for (int i = 0; i < MODELS; i++) {
        (void)save(16 + 16 * (i % 2), 100 + (uint64_t)i);
        models_reload(models);
        wait_counts(models, i + 1, 0);
    }
    sync_sleep_ms(50);
    flag_raise(&stop);
    for (int i = 0; i < FOLLOWERS; i++) {
        thread_join(&all[i].thread);
        CHECK(all[i].taken > 0);
    }
    close_models(models);
}

int main(void)
{
    log_init(LOG_LOGFMT, LOG_WARN, "");
    CASE(follows_the_folder);
    CASE(refuses_what_is_bad);
    CASE(loads_when_told);
    CASE(followers);
    return 0;
}
