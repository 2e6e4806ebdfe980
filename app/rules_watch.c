/* Watching the rules file. */
#include "app/rules_watch.h"

#include <string.h>
#include <sys/stat.h>

#include "app/versions.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"

/* What a file looks like: zeros when it is not there. */
struct look {
    int64_t inode, size, seconds, nanoseconds;
};

struct rules_watch {
    char *path;
    int64_t interval_ms;
    struct versions versions; /* struct rules */
    struct sync_int n_loaded, n_refused;
    /* the main thread's alone */
    struct look seen; /* when it was last read */
    int64_t looked_ms;
};

static struct look look_at(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return (struct look){0};
    return (struct look){(int64_t)info.st_ino, (int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec,
                         (int64_t)info.st_mtim.tv_nsec};
}

static void free_one(void *rules)
{
    rules_free(rules);
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
    versions_init(&watch->versions);
    versions_put(&watch->versions, rules);
    log_info("app", "rules loaded", "file=%s rules=%d", path, rules_model(rules)->n);
    *out = watch;
    return true;
}

void rules_watch_close(struct rules_watch *watch)
{
    if (!watch) return;
    versions_fini(&watch->versions, free_one);
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
    versions_put(&watch->versions, rules);
    (void)sync_int_add(&watch->n_loaded, 1);
}

void rules_watch_serve(struct rules_watch *watch, int64_t now_ms)
{
    for (struct rules *unused; (unused = versions_unused(&watch->versions)) != NULL;)
        rules_free(unused);
    if (watch->interval_ms == 0 || now_ms - watch->looked_ms < watch->interval_ms) return;
    watch->looked_ms = now_ms;
    struct look now = look_at(watch->path);
    if (memcmp(&now, &watch->seen, sizeof now) != 0) rules_watch_reload(watch);
}

const struct rules *rules_watch_take(struct rules_watch *watch)
{
    return versions_take(&watch->versions);
}

void rules_watch_release(struct rules_watch *watch, const struct rules *rules)
{
    (void)versions_release(&watch->versions, rules);
}

bool rules_watch_has_newer(const struct rules_watch *watch, const struct rules *rules)
{
    return versions_has_newer(&watch->versions, rules);
}

struct rules_watch_counts rules_watch_counts(const struct rules_watch *watch)
{
    return (struct rules_watch_counts){.loaded = sync_int_get(&watch->n_loaded),
                                       .refused = sync_int_get(&watch->n_refused)};
}
