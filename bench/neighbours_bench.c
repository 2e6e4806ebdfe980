/* Session neighbours on a log of sessions: quality of the next click, time of an add and of a query.
 *
 *   neighbours_bench TRAIN TEST current|none m k last_n idf_weight
 *
 * TRAIN and TEST are files of the format `sessions`. TRAIN is indexed in the order of time; then every click of TEST but a
 * session's first is predicted from those before it (ANCHORS section 2). current: the newest item may not stand in the
 * list; none: all may. */
#include <inttypes.h>
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

int main(int argc, char **argv)
{
    if (argc != 8) {
        (void)fprintf(stderr,
                      "usage: neighbours_bench TRAIN TEST current|none m k last_n idf_weight\n");
        return 2;
    }
    struct model_neighbours_options options = {.sessions_max = 1000000,
                                               .clicks_max = 4000000,
                                               .items_max = 10000,
                                               .m = (int)strtol(argv[4], NULL, 10),
                                               .k = (int)strtol(argv[5], NULL, 10),
                                               .last_n = (int)strtol(argv[6], NULL, 10),
                                               .idf_weight = strtod(argv[7], NULL)};
    struct clicks train = read_clicks(argv[1]), test = read_clicks(argv[2]);
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
