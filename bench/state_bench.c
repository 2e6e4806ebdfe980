/* Times of state/: fold, get (hit, miss in the cache, user that is nowhere), seal and write of dirty users, bytes.
 *
 *   state_bench [window] [state floats] [users]        default 50 640 20000
 *
 * One shard, in a folder under TMPDIR that is removed. Times are medians of rounds of CPU time of the whole process (that
 * of RocksDB's threads too), so that compactions count. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "state/state.h"

enum { ROUNDS = 7, EPOCH_USERS = 500, CATALOGUE = 50000 };

struct bench {
    struct state *state;
    struct state_shard *shard;
    struct rng rng;
    struct state_options options;
    int users;
    int64_t offset;
    char folder[256];
};

static void die(const struct err *err)
{
    (void)fprintf(stderr, "state_bench: %s\n", err->text);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, double *us, int n, double each)
{
    qsort(us, (size_t)n, sizeof *us, compare_doubles);
    printf("%-34s %8.3f us   (best %.3f, worst %.3f)\n", what, us[n / 2] / each, us[0] / each,
           us[n - 1] / each);
}

static struct user *get(struct bench *b, int number)
{
    char key[32];
    struct user *user;
    struct err err = ERR_INIT;
    int len = snprintf(key, sizeof key, "%cuuser-%d", 0, number);
    if (!state_user_get(b->shard, 0, (struct str){key, (size_t)len}, &user, &err)) die(&err);
    return user;
}

/* Zipf by rejection is not needed here: a product of uniforms is skewed enough. */
static int draw_item(struct bench *b)
{
    return (int)(rng_unit(&b->rng) * rng_unit(&b->rng) * rng_unit(&b->rng) * CATALOGUE);
}

struct one_event {
    struct event event;
    struct event_item item;
    char id[24], event_id[24];
};

static void make_event(struct bench *b, struct one_event *e)
{
    memset(e, 0, sizeof *e);
    (void)snprintf(e->id, sizeof e->id, "%d", draw_item(b));
    (void)snprintf(e->event_id, sizeof e->event_id, "e%" PRId64, b->offset);
    e->item.item_id = str_of(e->id);
    e->event = (struct event){.type = EVENT_VIEW,
                              .time_ms = 1700000000000 + b->offset,
                              .consent = true,
                              .event_id = str_of(e->event_id),
                              .items = &e->item,
                              .n_items = 1};
}

static void fold(struct bench *b, struct user *user)
{
    struct one_event e;
    make_event(b, &e);
    (void)state_user_fold(b->shard, user, &e.event, 0, b->offset++);
}

static void commit(struct bench *b)
{
    struct err err = ERR_INIT;
    struct state_move move = {0, 0, b->offset};
    struct state_epoch *epoch = state_epoch_seal(b->shard, &move, 1);
    if (!state_epoch_write(b->shard, epoch, &err)) die(&err);
    state_shard_trim(b->shard);
}

/* Users with full windows, an encoder state and a list, all in the store. */
static void fill(struct bench *b)
{
    for (int i = 0; i < b->users; i++) {
        struct user *user = get(b, i);
        for (int k = 0; k < b->options.window_max; k++)
            fold(b, user);
        for (int k = 0; k < b->options.state_floats; k++)
            state_user_encoder(b->shard, user)[k] = (float)rng_normal(&b->rng);
        user->model_id = 1;
        for (int k = 0; k < b->options.list_size; k++)
            user->last_list[k] = rng_u64(&b->rng);
        user->n_last_list = b->options.list_size;
        if (i % EPOCH_USERS == EPOCH_USERS - 1) commit(b);
    }
    commit(b);
}

/* The events are made beforehand, so that only fold and get are timed. */
static void time_fold(struct bench *b)
{
    enum { N = 20000, HOT = 2000 };
    double plain[ROUNDS], with_get[ROUNDS], popular[ROUNDS], top[ROUNDS];
    struct one_event *events = mem_zalloc(N * sizeof *events);
    struct err err = ERR_INIT;
    uint64_t keys[64];
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < N; i++) {
            make_event(b, events + i);
            b->offset++;
        }
        for (int i = 0; i < HOT; i++)
            (void)get(b, i);
        struct user *user = get(b, 1);
        double start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)state_user_fold(b->shard, user, &events[i].event, 1, b->offset + i);
        plain[r] = cpu_us() - start;
        start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)state_user_fold(b->shard, get(b, i * 7 % HOT), &events[i].event, 0,
                                  b->offset + i);
        with_get[r] = cpu_us() - start;
        b->offset += N;
        start = cpu_us();
        for (int i = 0; i < N; i++)
            if (!state_popularity_add(b->shard, 0, &events[i].event, &err)) die(&err);
        popular[r] = cpu_us() - start;
        start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)state_popularity_top(b->shard, 0, events[i].event.tenant, 20, keys, NULL, NULL);
        top[r] = cpu_us() - start;
        commit(b);
    }
    report("fold, one user", plain, ROUNDS, N);
    report("fold and get, 2,000 hot users", with_get, ROUNDS, N);
    report("popularity add, 50,000 items", popular, ROUNDS, N);
    report("popularity top 20", top, ROUNDS, N);
    mem_free(events);
}

static void time_get(struct bench *b)
{
    enum { N = 5000 };
    double hit[ROUNDS], miss[ROUNDS], nobody[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < 1000; i++)
            (void)get(b, i);
        double start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)get(b, i * 7 % 1000);
        hit[r] = cpu_us() - start;
        state_partition_close(b->shard, 0);
        struct err err = ERR_INIT;
        if (!state_partition_open(b->shard, 0, &err)) die(&err);
        start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)get(b, (i * 17 + r) % b->users);
        miss[r] = cpu_us() - start;
        state_shard_trim(b->shard);
        start = cpu_us();
        for (int i = 0; i < N; i++)
            (void)get(b, 1000000 + r * N + i);
        nobody[r] = cpu_us() - start;
        state_shard_trim(b->shard);
    }
    report("get, in the cache", hit, ROUNDS, N);
    report("get, in the store", miss, ROUNDS, N);
    report("get, nowhere", nobody, ROUNDS, N);
}

/* seal copies, write goes through the log and the memtable; compactions run beside and are in `sustained`. */
static void time_write(struct bench *b)
{
    enum { EPOCHS = 200 };
    static double seal[EPOCHS], write[EPOCHS];
    struct err err = ERR_INIT;
    size_t bytes = 0;
    double begin = cpu_us(), folds = 0;
    for (int e = 0; e < EPOCHS; e++) {
        double start = cpu_us();
        for (int i = 0; i < EPOCH_USERS; i++)
            fold(b, get(b, (e * EPOCH_USERS + i) * 31 % b->users));
        folds += cpu_us() - start;
        struct state_move move = {0, 0, b->offset};
        struct timespec t0, t1, t2;
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
        struct state_epoch *epoch = state_epoch_seal(b->shard, &move, 1);
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
        bytes = state_pending_bytes(b->shard);
        if (!state_epoch_write(b->shard, epoch, &err)) die(&err);
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t2);
        seal[e] = (double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3;
        write[e] = (double)(t2.tv_sec - t1.tv_sec) * 1e6 + (double)(t2.tv_nsec - t1.tv_nsec) / 1e3;
        state_shard_trim(b->shard);
    }
    double all = (cpu_us() - begin - folds) / EPOCHS / EPOCH_USERS;
    report("seal, a user", seal, EPOCHS, EPOCH_USERS);
    report("write, a user, own thread", write, EPOCHS, EPOCH_USERS);
    printf("%-34s %8.3f us   (all threads: log, memtable, flush, compaction)\n",
           "seal and write, sustained", all);
    printf("%-34s %8.0f\n", "bytes a user written", (double)bytes / EPOCH_USERS);
}

int main(int argc, char **argv)
{
    struct bench b = {.users = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 20000};
    static const char *const topics[] = {"clicks", "purchases"};
    struct state_identity identity = {.application_id = "bench",
                                      .cluster_id = "bench",
                                      .topics = topics,
                                      .n_topics = 2,
                                      .n_partitions = 1};
    struct err err = ERR_INIT;
    b.options = (struct state_options){
        .window_max = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 50,
        .state_floats = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 640,
        .late_tolerance_ms = 60000,
        .cache_bytes = 64 << 20,
        .rocksdb_bytes = 64 << 20,
        .popularity_max_items = 100000,
        .popularity_half_life_ms = 7 * 86400000LL,
        .list_size = 20,
        .shards = 1,
    };
    b.options.popularity_weight[EVENT_VIEW] = 1;
    const char *base = getenv("TMPDIR");
    (void)snprintf(b.folder, sizeof b.folder, "%s/freshet-bench-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(b.folder)) return 1;
    rng_init(&b.rng, 1);
    if (!state_open(&b.state, b.folder, &identity, &b.options, &err)) die(&err);
    b.shard = state_shard_new(b.state, 0);
    if (!state_partition_open(b.shard, 0, &err)) die(&err);
    printf("window %d, state floats %d, users %d\n", b.options.window_max, b.options.state_floats,
           b.users);
    fill(&b);
    printf("%-34s %8.0f\n", "bytes a user in the cache",
           (double)state_cache_bytes(b.shard) / (b.users < 8000 ? b.users : 8000));
    time_fold(&b);
    time_get(&b);
    time_write(&b);
    state_shard_free(b.shard);
    state_close(b.state);
    char command[600];
    (void)snprintf(command, sizeof command, "du -sh %s && rm -r %s", b.folder, b.folder);
    return system(command) == 0 ? 0 : 1;
}
