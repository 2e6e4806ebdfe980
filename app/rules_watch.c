/* Watching the rules file. */
#include "app/rules_watch.h"

#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

struct loaded {
    struct loaded *older;
    struct rules *rules;
    int holders;
};

/* What a file looks like: zeros when it is not there. */
struct look {
    int64_t inode, size, seconds, nanoseconds;
};

struct rules_watch {
    char *path;
    int64_t interval_ms;
    struct sync_ptr newest; /* struct rules */
    struct sync_int n_loaded, n_refused;
    /* the main thread's alone */
    struct look seen; /* when it was last read */
    int64_t looked_ms;
    /* guarded by mutex */
    struct mutex mutex;
    struct loaded *first;
};

static struct look look_at(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return (struct look){0};
    return (struct look){(int64_t)info.st_ino, (int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec,
                         (int64_t)info.st_mtim.tv_nsec};
}

static void put_newest(struct rules_watch *watch, struct rules *rules)
{
    struct loaded *loaded = mem_zalloc(sizeof *loaded);
    loaded->rules = rules;
    mutex_lock(&watch->mutex);
    loaded->older = watch->first;
    watch->first = loaded;
    sync_ptr_set_release(&watch->newest, rules);
    mutex_unlock(&watch->mutex);
}

/* Frees what is neither the newest nor held. */
static void unused_free(struct rules_watch *watch)
{
    struct loaded *unused = NULL;
    mutex_lock(&watch->mutex);
    for (struct loaded **link = &watch->first->older; *link;) {
        struct loaded *loaded = *link;
        if (loaded->holders > 0) {
            link = &loaded->older;
            continue;
        }
        *link = loaded->older;
        loaded->older = unused;
        unused = loaded;
    }
    mutex_unlock(&watch->mutex);
    for (struct loaded *older; unused; unused = older) {
        older = unused->older;
        rules_free(unused->rules);
        mem_free(unused);
    }
}

bool rules_watch_open(struct rules_watch **out, const char *path, int64_t interval_ms,
                      struct err *err)
{
    struct rules *rules;
    struct look seen = look_at(path);
    if (!rules_load(&rules, path, err)) return false;
    struct rules_watch *watch = mem_zalloc(sizeof *watch);
    watch->path = mem_strdup(path);
    watch->interval_ms = interval_ms;
    watch->seen = seen;
    mutex_init(&watch->mutex);
    put_newest(watch, rules);
    log_info("app", "rules loaded", "file=%s rules=%d", path, rules_model(rules)->n);
    *out = watch;
    return true;
}

void rules_watch_close(struct rules_watch *watch)
{
    if (!watch) return;
    for (struct loaded *loaded = watch->first, *older; loaded; loaded = older) {
        older = loaded->older;
        rules_free(loaded->rules);
        mem_free(loaded);
    }
    mutex_fini(&watch->mutex);
    mem_free(watch->path);
    mem_free(watch);
}

void rules_watch_reload(struct rules_watch *watch)
{
    struct rules *rules;
    struct err err = ERR_INIT;
    watch->seen = look_at(watch->path); /* before it is read: a later change is seen again */
    if (!rules_load(&rules, watch->path, &err)) {
        (void)sync_int_add(&watch->n_refused, 1);
        (void)err_wrap(&err, "the rules in use stay");
        log_err(LOG_ERROR, "app", &err);
        return;
    }
    log_info("app", "rules loaded", "file=%s rules=%d", watch->path, rules_model(rules)->n);
    put_newest(watch, rules);
    (void)sync_int_add(&watch->n_loaded, 1);
}

void rules_watch_serve(struct rules_watch *watch, int64_t now_ms)
{
    unused_free(watch);
    if (watch->interval_ms == 0 || now_ms - watch->looked_ms < watch->interval_ms) return;
    watch->looked_ms = now_ms;
    struct look now = look_at(watch->path);
    if (memcmp(&now, &watch->seen, sizeof now) != 0) rules_watch_reload(watch);
}

const struct rules *rules_watch_take(struct rules_watch *watch)
{
    mutex_lock(&watch->mutex);
    struct loaded *loaded = watch->first;
    loaded->holders++;
    mutex_unlock(&watch->mutex);
    return loaded->rules;
}

void rules_watch_release(struct rules_watch *watch, const struct rules *rules)
{
    mutex_lock(&watch->mutex);
    struct loaded *loaded = watch->first;
    while (loaded->rules != rules)
        loaded = loaded->older;
    loaded->holders--;
    mutex_unlock(&watch->mutex);
}

bool rules_watch_has_newer(const struct rules_watch *watch, const struct rules *rules)
{
    return sync_ptr_get_acquire(&watch->newest) != rules;
}

struct rules_watch_counts rules_watch_counts(const struct rules_watch *watch)
{
    return (struct rules_watch_counts){.loaded = sync_int_get(&watch->n_loaded),
                                       .refused = sync_int_get(&watch->n_refused)};
}
