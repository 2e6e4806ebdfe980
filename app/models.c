/* Watching a model folder, loading what is new in it, freeing what nobody holds. */
#include "app/models.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/versions.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/sync.h"
#include "schemas/schemas.h"

enum { PATH_BYTES = 4096 };

/* What a folder looks like: numbers that change when its files do; 0 when they are not there. */
struct look {
    uint64_t all;  /* every file */
    uint64_t meta; /* model.json, which `freshet train` writes last */
};

struct models {
    char *folder;
    int64_t interval_ms;
    struct thread thread;
    struct versions versions; /* struct model */
    struct sync_int n_loaded, n_refused;
    /* the thread's alone */
    struct look seen; /* when it was last loaded from */
    uint64_t last;    /* `all` at the last look */
    bool is_refused;  /* the last load failed */
    /* shared, guarded by mutex */
    struct mutex mutex;
    struct condition changed;
    bool is_asked, is_stopping;
    bool has_unused; /* somebody let go of one */
};

/* ---- the folder ---- */

static struct look look_at(const char *folder)
{
    struct look look = {0, 0};
    DIR *dir = opendir(folder);
    if (!dir) return look;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_BYTES];
        struct stat info;
        int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (len < 0 || len >= PATH_BYTES || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        int64_t facts[] = {(int64_t)schemas_id_hash(str_of(entry->d_name)), (int64_t)info.st_ino,
                           (int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec,
                           (int64_t)info.st_mtim.tv_nsec};
        uint64_t stamp = schemas_id_hash((struct str){(const char *)facts, sizeof facts});
        look.all += stamp; /* a sum: the order of the files does not matter */
        if (strcmp(entry->d_name, "model.json") == 0) look.meta = stamp;
    }
    (void)closedir(dir);
    return look;
}

/* Whether there is something to load: another model.json, in a folder where nothing has changed since the look before. So
 * a folder that is being written or copied is left alone until it is whole, in whatever order its files come. One that
 * was refused is tried again when any of its files changes. */
static bool is_due(struct models *models, const struct look *now)
{
    bool is_settled = now->all == models->last;
    models->last = now->all;
    if (!is_settled || now->meta == 0) return false;
    return now->meta != models->seen.meta || (models->is_refused && now->all != models->seen.all);
}

/* ---- loading ---- */

/* A model that may take the place of the one in use. Errors: as model_load; another tenant. */
static bool load_checked(const struct models *models, struct model **model, struct err *err)
{
    if (!model_load(model, models->folder, err)) return false;
    const char *tenant = model_info(*model).tenant;
    const char *own = model_info(versions_newest(&models->versions)).tenant;
    if (strcmp(tenant, own) == 0) return true;
    (void)err_fatal(err, ERR_EXIT_MODEL,
                    "model folder %s: its items are of tenant \"%.80s\", this process serves those "
                    "of \"%.80s\": restart it to serve others",
                    models->folder, tenant, own);
    model_free(*model);
    return false;
}

/* Loads the folder as it was at the look. Changed while it was read: a failure then says nothing, the next look decides. */
static void load(struct models *models, const struct look *look)
{
    struct clock clock = {0};
    struct err err = ERR_INIT;
    struct model *model;
    uint64_t since_us = clock_mono_us(&clock);
    bool ok = load_checked(models, &model, &err);
    if (!ok && models->interval_ms > 0 && look_at(models->folder).all != look->all) return;
    models->seen = *look;
    models->is_refused = !ok;
    if (!ok) {
        (void)sync_int_add(&models->n_refused, 1);
        (void)err_wrap(&err, "the model in use stays");
        log_err(LOG_ERROR, "app", &err);
        return;
    }
    struct model_info now = model_info(model),
                      before = model_info(versions_newest(&models->versions));
    if (now.id == before.id) {
        log_info("app", "model unchanged", "version=%s id=%016" PRIx64, now.version, now.id);
        model_free(model);
        return;
    }
    log_info("app", "model loaded",
             "version=%s id=%016" PRIx64 " encoder=%s items=%d took_ms=%" PRIu64 " before=%s",
             now.version, now.id, now.encoder, now.N, (clock_mono_us(&clock) - since_us) / 1000,
             before.version);
    versions_put(&models->versions, model);
    (void)sync_int_add(&models->n_loaded, 1);
}

/* ---- the thread ---- */

static void unused_free(struct models *models)
{
    struct model *model;
    while ((model = versions_unused(&models->versions)) != NULL) {
        log_info("app", "model freed", "version=%s", model_info(model).version);
        model_free(model);
    }
}

/* Waits for a word or the time of the next look. Returns false when the thread is to end. */
static bool wait(struct models *models, int64_t wait_ms, bool *is_asked)
{
    mutex_lock(&models->mutex);
    if (!models->has_unused && !models->is_asked && !models->is_stopping) {
        if (wait_ms > 0)
            (void)condition_wait_ms(&models->changed, &models->mutex, wait_ms);
        else
            condition_wait(&models->changed, &models->mutex);
    }
    *is_asked = models->is_asked;
    models->is_asked = models->has_unused = false;
    bool is_stopping = models->is_stopping;
    mutex_unlock(&models->mutex);
    return !is_stopping;
}

static void models_run(void *context)
{
    struct models *models = context;
    struct clock clock = {0};
    uint64_t looked_us = clock_mono_us(&clock);
    bool is_asked;
    while (wait(models, models->interval_ms, &is_asked)) {
        uint64_t now_us = clock_mono_us(&clock);
        bool is_time =
            models->interval_ms > 0 && now_us - looked_us >= (uint64_t)models->interval_ms * 1000;
        unused_free(models);
        if (!is_asked && !is_time) continue;
        struct look look = look_at(models->folder);
        looked_us = now_us;
        if (is_due(models, &look) || is_asked) load(models, &look);
        unused_free(models); /* the one before, when nobody held it */
    }
    unused_free(models);
}

/* ---- public ---- */

static void free_one(void *model)
{
    model_free(model);
}

static void fini(struct models *models)
{
    versions_fini(&models->versions, free_one);
    condition_fini(&models->changed);
    mutex_fini(&models->mutex);
    mem_free(models->folder);
    mem_free(models);
}

bool models_open(struct models **out, const struct models_options *options, struct err *err)
{
    struct models *models = mem_zalloc(sizeof *models);
    struct model *model;
    models->folder = mem_strdup(options->folder);
    models->interval_ms = options->interval_ms;
    mutex_init(&models->mutex);
    condition_init(&models->changed);
    versions_init(&models->versions);
    models->seen = look_at(models->folder);
    models->last = models->seen.all;
    bool ok = model_load(&model, models->folder, err);
    if (ok) {
        versions_put(&models->versions, model);
        ok = thread_start(&models->thread, "models", models_run, models, err);
    }
    if (ok) {
        *out = models;
        return true;
    }
    fini(models);
    return false;
}

void models_close(struct models *models)
{
    if (!models) return;
    mutex_lock(&models->mutex);
    models->is_stopping = true;
    condition_signal(&models->changed);
    mutex_unlock(&models->mutex);
    thread_join(&models->thread);
    fini(models);
}

void models_reload(struct models *models)
{
    mutex_lock(&models->mutex);
    models->is_asked = true;
    condition_signal(&models->changed);
    mutex_unlock(&models->mutex);
}

struct models_counts models_counts(const struct models *models)
{
    return (struct models_counts){.loaded = sync_int_get(&models->n_loaded),
                                  .refused = sync_int_get(&models->n_refused)};
}

const struct model *models_take(struct models *models)
{
    return versions_take(&models->versions);
}

void models_release(struct models *models, const struct model *model)
{
    if (!versions_release(&models->versions, model)) return;
    mutex_lock(&models->mutex);
    models->has_unused = true;
    condition_signal(&models->changed);
    mutex_unlock(&models->mutex);
}

bool models_has_newer(const struct models *models, const struct model *model)
{
    return versions_has_newer(&models->versions, model);
}
