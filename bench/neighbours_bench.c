/* Session neighbours on a log of sessions: quality of the next click, time of an add and of a query.
 *
 *   neighbours_bench TRAIN TEST current|none [name=value ...]
 *
 * TRAIN and TEST are files of the format `sessions`. TRAIN is indexed in the order of time; then every click of TEST but a
 * session's first is predicted from those before it (ANCHORS section 2). current: the newest item may not stand in the
 * list; none: all may. The names are those of the table below; longest: sessions of TRAIN with more clicks are left out. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/model.h"
#include "schemas/schemas.h"
#include "train/train.h"

enum { TOP = 20 };

struct click {
    uint64_t session, item;
    int64_t time_ms;
    size_t line;
};

struct clicks {
    struct click *all;
    size_t n, cap;
};

static int by_time(const void *a, const void *b)
{
    const struct click *x = a, *y = b;
    if (x->time_ms != y->time_ms) return x->time_ms < y->time_ms ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static int by_session(const void *a, const void *b)
{
    const struct click *x = a, *y = b;
    if (x->session != y->session) return x->session < y->session ? -1 : 1;
    return by_time(a, b);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static struct clicks read_clicks(const char *path)
{
    struct clicks clicks = {0};
    struct log_reader *reader;
    struct log_row row;
    struct err err = ERR_INIT;
    bool ok = log_reader_open(&reader, path, LOGFILE_SESSIONS, NULL, &err);
    while (ok && log_reader_next(reader, &row, &err)) {
        if (clicks.n == clicks.cap) {
            clicks.cap = clicks.cap ? 2 * clicks.cap : 1024;
            clicks.all = mem_realloc(clicks.all, clicks.cap * sizeof *clicks.all);
        }
        clicks.all[clicks.n] = (struct click){
            schemas_id_hash(row.user), schemas_item_key(STR(""), row.item), row.time_ms, clicks.n};
        clicks.n++;
    }
    if (err.class != ERR_NONE) {
        (void)fprintf(stderr, "neighbours_bench: %s\n", err.text);
        exit(1);
    }
    log_reader_close(reader);
    return clicks;
}

/* Leaves out sessions of more than `longest` clicks. */
static void drop_long(struct clicks *clicks, size_t longest)
{
    size_t kept = 0;
    qsort(clicks->all, clicks->n, sizeof *clicks->all, by_session);
    for (size_t i = 0, end; i < clicks->n; i = end) {
        for (end = i; end < clicks->n && clicks->all[end].session == clicks->all[i].session;)
            end++;
        if (end - i > longest) continue;
        memmove(clicks->all + kept, clicks->all + i, (end - i) * sizeof *clicks->all);
        kept += end - i;
    }
    clicks->n = kept;
}

static bool is_item(void *context, uint64_t key)
{
    return *(const uint64_t *)context == key;
}

static void report(const char *what, uint64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, by_value);
    printf("%-6s us: p50 %.2f  p90 %.2f  p99 %.2f  worst %.2f\n", what, (double)ns[n / 2] / 1e3,
           (double)ns[n * 9 / 10] / 1e3, (double)ns[n * 99 / 100] / 1e3, (double)ns[n - 1] / 1e3);
}

static void index_fill(struct model_neighbours *index, struct clicks *train)
{
    uint64_t *ns = mem_alloc(train->n * sizeof *ns);
    qsort(train->all, train->n, sizeof *train->all, by_time);
    for (size_t i = 0; i < train->n; i++) {
        const struct click *click = &train->all[i];
        uint64_t since = clock_mono_ns();
        model_neighbours_add(index, click->session, click->item, click->time_ms);
        ns[i] = clock_mono_ns() - since;
    }
    report("add", ns, train->n);
    mem_free(ns);
}

static void predict(struct model_neighbours *index, struct clicks *test, bool without_current)
{
    uint64_t *items = mem_alloc(test->n * sizeof *items), *ns = mem_alloc(test->n * sizeof *ns);
    struct model_neighbour list[TOP];
    size_t n = 0, hits = 0;
    double reciprocal = 0;
    int length = 0;
    qsort(test->all, test->n, sizeof *test->all, by_session);
    for (size_t i = 0; i + 1 < test->n; i++) {
        const struct click *now = &test->all[i], *next = now + 1;
        items[length++] = now->item;
        if (next->session != now->session) {
            length = 0;
            continue;
        }
        uint64_t current = now->item, since = clock_mono_ns();
        int found = model_neighbours_query(index, 0, items, length, TOP,
                                           without_current ? is_item : NULL, &current, list);
        ns[n++] = clock_mono_ns() - since;
        for (int r = 0; r < found; r++)
            if (list[r].key == next->item) {
                hits++;
                reciprocal += 1.0 / (r + 1);
            }
    }
    if (n == 0) return;
    report("query", ns, n);
    printf("predictions %zu  HR@20 %.4f  MRR@20 %.4f\n", n, (double)hits / (double)n,
           reciprocal / (double)n);
    mem_free(items);
    mem_free(ns);
}

/* ---- options ---- */

static const char *const decays[] = {"same", "linear", "div", "log", "quadratic", NULL};
static const char *const idfs[] = {"none", "times", "plus", NULL};

static int name_find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    (void)fprintf(stderr, "neighbours_bench: no such value: %s\n", name);
    exit(2);
}

/* Sets one option from "name=value". */
static void option_set(struct model_neighbours_options *o, int *longest, const char *text)
{
    struct {
        const char *name;
        int *integer;
    } integers[] = {{"m", &o->m},
                    {"k", &o->k},
                    {"last", &o->last_n},
                    {"items_max", &o->items_max},
                    {"longest", longest}};
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    const char *value = equals ? equals + 1 : "";
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (strlen(integers[i].name) != n || strncmp(integers[i].name, text, n) != 0) continue;
        *integers[i].integer = (int)strtol(value, NULL, 10);
        return;
    }
    if (strncmp(text, "similarity=", 11) == 0)
        o->similarity = (enum model_neighbours_decay)name_find(decays, value);
    else if (strncmp(text, "position=", 9) == 0)
        o->position = (enum model_neighbours_decay)name_find(decays, value);
    else if (strncmp(text, "idf=", 4) == 0)
        o->idf = (enum model_neighbours_idf)name_find(idfs, value);
    else if (strncmp(text, "idf_weight=", 11) == 0)
        o->idf_weight = strtod(value, NULL);
    else if (strncmp(text, "half_life_days=", 15) == 0)
        o->half_life_ms = strtod(value, NULL) * 86400e3;
    else if (strncmp(text, "reach=", 6) == 0)
        o->reach = strtod(value, NULL);
    else
        (void)name_find((const char *const[]){NULL}, text);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: neighbours_bench TRAIN TEST current|none [name=value ...]\n");
        return 2;
    }
    int longest = INT_MAX;
    struct model_neighbours_options options = {.items_max = 10000,
                                               .m = 1502,
                                               .k = 288,
                                               .last_n = 4,
                                               .similarity = NEIGHBOURS_DIV,
                                               .position = NEIGHBOURS_LINEAR,
                                               .idf = NEIGHBOURS_IDF_PLUS,
                                               .idf_weight = 2.0};
    for (int i = 4; i < argc; i++)
        option_set(&options, &longest, argv[i]);
    struct clicks train = read_clicks(argv[1]), test = read_clicks(argv[2]);
    drop_long(&train, (size_t)longest);
    options.sessions_max = options.clicks_max = (int)train.n;
    struct model_neighbours *index = model_neighbours_new(&options);
    index_fill(index, &train);
    predict(index, &test, strcmp(argv[3], "current") == 0);
    printf("sessions %d  clicks %d  bytes reserved %zu\n", model_neighbours_sessions(index),
           model_neighbours_clicks(index), model_neighbours_bytes(index));
    model_neighbours_free(index);
    mem_free(train.all);
    mem_free(test.all);
    return 0;
}
