/* Random operations against a plain in-memory model, killed at every kind of step: whatever a store holds after a crash,
 * it is exactly the fold of the events below its positions (I1).
 *
 * The parent never opens RocksDB (its threads do not survive fork): one child works until it dies, the next looks. */
#include "tests/state/fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#ifdef FRESHET_SANITIZED
enum { EVENTS = 1000 }; /* starting a process takes a sanitizer half a second */
#else
enum { EVENTS = 4000 };
#endif
enum { PARTITIONS = 4, TOPICS = 2, USERS = 30, POPULAR = 40, KILLS_MAX = 400, KILLS_MIN = 5 };

static char folder[256];
static uint64_t seed;

/* ---- the stream: event i belongs to a topic and a partition by its number, and has offset i there ---- */

static int topic_of(uint64_t i)
{
    return (int)((i * 2654435761u >> 7) % TOPICS);
}

static int32_t partition_of(uint64_t i)
{
    return (int32_t)((i * 2246822519u >> 9) % PARTITIONS);
}

static struct state_options options_of_test(void)
{
    struct state_options options = fixture_options();
    options.popularity_max_items = POPULAR;
    options.cache_bytes = 40 * 3000; /* about 40 users: most gets read the store */
    options.rocksdb_bytes = 1 << 20;
    return options;
}

/* "user-7" is 7. */
static int user_number(const char *name)
{
    long u = strtol(name + strlen("user-"), NULL, 10);
    CHECK(u >= 0 && u < USERS);
    return (int)u;
}

static void sleep_us(long us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)nanosleep(&time, NULL);
}

/* ---- the worker ---- */

struct worker {
    struct state *state;
    struct state_shard *shard;
    struct rng rng;
    int64_t next[TOPICS][PARTITIONS];
    bool touched[TOPICS][PARTITIONS];
    struct state_epoch *epochs[8];
    int n_epochs;
    uint64_t steps_left; /* then it dies */
};

static void step(struct worker *w)
{
    if (w->steps_left-- == 0) (void)kill(getpid(), SIGKILL);
}

static void open_partition(struct worker *w, int32_t p)
{
    struct err err = ERR_INIT;
    CHECK_OK(state_partition_open(w->shard, p, &err), err);
    for (int t = 0; t < TOPICS; t++) {
        CHECK_OK(state_position(w->state, t, p, &w->next[t][p], &err), err);
        if (w->next[t][p] < 0) w->next[t][p] = 0;
        w->touched[t][p] = false;
    }
}

static void apply(struct worker *w, uint64_t i)
{
    struct fixture_event e;
    struct user *user;
    struct err err = ERR_INIT;
    char key[SCHEMAS_USER_KEY_MAX];
    int32_t p = partition_of(i);
    fixture_random_event(&e, seed, i, USERS);
    struct str user_key = fixture_user_key(&e, key);
    CHECK_OK(state_items_check(w->shard, p, &e.event, &err), err);
    CHECK_OK(state_user_get(w->shard, p, user_key, &user, &err), err);
    struct fold_result r = state_user_fold(w->shard, user, &e.event, topic_of(i), (int64_t)i);
    CHECK(r.outcome != FOLD_REPLAYED); /* state and position never part */
    if (r.outcome == FOLD_APPLIED) {
        CHECK_OK(state_popularity_add(w->shard, p, &e.event, &err), err);
        user->last_list[0] = i; /* what the application does after a list */
        user->n_last_list = 1;
        state_user_encoder(w->shard, user)[0] = (float)i;
        user->model_id = 9;
        state_user_dirty(w->shard, user);
    }
    w->next[topic_of(i)][p] = (int64_t)i + 1;
    w->touched[topic_of(i)][p] = true;
}

static void seal(struct worker *w)
{
    struct state_move moves[TOPICS * PARTITIONS];
    int n = 0;
    for (int t = 0; t < TOPICS; t++)
        for (int32_t p = 0; p < PARTITIONS; p++) {
            if (w->touched[t][p]) moves[n++] = (struct state_move){t, p, w->next[t][p]};
            w->touched[t][p] = false;
        }
    w->epochs[w->n_epochs++] = state_epoch_seal(w->shard, moves, n);
}

static void write_oldest(struct worker *w)
{
    struct err err = ERR_INIT;
    CHECK_OK(state_epoch_write(w->shard, w->epochs[0], &err), err);
    w->n_epochs--;
    memmove(w->epochs, w->epochs + 1, (size_t)w->n_epochs * sizeof w->epochs[0]);
}

/* One pass over the stream from the lowest position; partitions that were closed and opened begin where they stand. */
static void pass(struct worker *w)
{
    struct err err = ERR_INIT;
    int64_t first = EVENTS;
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++)
            if (w->next[t][p] < first) first = w->next[t][p];
    for (uint64_t i = (uint64_t)first; i < EVENTS; i++) {
        if ((int64_t)i < w->next[topic_of(i)][partition_of(i)]) continue;
        step(w);
        apply(w, i);
        uint64_t dice = rng_below(&w->rng, 100);
        if (dice < 10 && w->n_epochs < 8) seal(w);
        step(w);
        if (dice < 20 && w->n_epochs > 0 && rng_below(&w->rng, 3) > 0) write_oldest(w);
        if (dice >= 90) state_shard_trim(w->shard);
        if (dice == 30) CHECK_OK(state_sync(w->state, &err), err);
        if (dice != 31) continue;
        int32_t p = (int32_t)rng_below(&w->rng, PARTITIONS);
        state_partition_close(w->shard, p);
        open_partition(w, p);
        return;
    }
    seal(w);
    while (w->n_epochs > 0)
        write_oldest(w);
}

static bool at_end(const struct worker *w)
{
    for (uint64_t i = EVENTS - 50; i < EVENTS; i++)
        if (w->next[topic_of(i)][partition_of(i)] <= (int64_t)i) return false;
    return w->n_epochs == 0;
}

/* Works to the end of the stream, or dies after `steps`. Sometimes ends early without writing. */
static void work(uint64_t round, uint64_t steps)
{
    struct worker w = {.steps_left = steps};
    struct state_options options = options_of_test();
    rng_init(&w.rng, seed * 31 + round);
    w.state = fixture_open(folder, &options);
    w.shard = state_shard_new(w.state, 0);
    for (int32_t p = 0; p < PARTITIONS; p++)
        open_partition(&w, p);
    do {
        pass(&w);
    } while (!at_end(&w));
    state_shard_free(w.shard);
    state_close(w.state);
}

/* ---- the model ---- */

struct popular {
    uint64_t key;
    double level;
};

struct model {
    int64_t next[TOPICS][PARTITIONS];
    struct naive_user users[PARTITIONS][USERS];
    bool met[PARTITIONS][USERS];
    uint64_t last_list[PARTITIONS][USERS]; /* 0 none */
    struct popular popular[PARTITIONS][POPULAR];
    int n_popular[PARTITIONS];
    int seen; /* users of the store that were compared */
};

static int popular_order(const void *a, const void *b)
{
    const struct popular *x = a, *y = b;
    if (x->level != y->level) return x->level < y->level ? 1 : -1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void model_popular(struct model *model, const struct state_options *options, int32_t p,
                          const struct event *event)
{
    double weight = options->popularity_weight[event->type];
    double amount =
        (double)event->time_ms / (double)options->popularity_half_life_ms + log2(weight);
    for (size_t k = 0; k < event->n_items && weight > 0; k++) {
        uint64_t key = schemas_item_key(event->tenant, event->items[k].item_id);
        struct popular *rows = model->popular[p];
        int *n = &model->n_popular[p], at = 0;
        while (at < *n && rows[at].key != key)
            at++;
        if (at < *n) {
            double high = fmax(rows[at].level, amount), low = fmin(rows[at].level, amount);
            rows[at].level = high + log2(1.0 + exp2(low - high));
            continue;
        }
        if (*n == POPULAR) {
            qsort(rows, POPULAR, sizeof *rows, popular_order);
            *n = POPULAR / 2;
        }
        rows[(*n)++] = (struct popular){key, amount};
    }
}

/* The fold of every event below the positions. */
static void model_build(struct model *model)
{
    struct state_options options = options_of_test();
    for (int p = 0; p < PARTITIONS; p++)
        for (int u = 0; u < USERS; u++)
            naive_init(&model->users[p][u]);
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct fixture_event e;
        int32_t p = partition_of(i);
        int t = topic_of(i);
        if ((int64_t)i >= model->next[t][p]) continue;
        fixture_random_event(&e, seed, i, USERS);
        int u = user_number(e.user);
        model->met[p][u] |= e.event.consent; /* without it nothing is kept */
        struct fold_result r = naive_fold(&options, &model->users[p][u], &e.event, t, (int64_t)i);
        if (r.outcome != FOLD_APPLIED) continue;
        model->last_list[p][u] = i;
        model_popular(model, &options, p, &e.event);
    }
}

static bool take_position(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct model *model = context;
    model->next[strcmp(topic, "clicks") == 0 ? 0 : 1][partition] = next;
    return true;
}

static bool compare_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    struct model *model = context;
    char name[24];
    CHECK(key.len > 2 && key.len - 2 < sizeof name);
    memcpy(name, key.ptr + 2, key.len - 2); /* tenant "", 0x00, 'u' */
    name[key.len - 2] = '\0';
    int u = user_number(name);
    CHECK(model->met[partition][u]);
    naive_compare(&model->users[partition][u], user);
    CHECK_INT(user->n_last_list, model->last_list[partition][u] ? 1 : 0);
    if (user->n_last_list) CHECK_INT(user->last_list[0], model->last_list[partition][u]);
    if (user->model_id) CHECK_NEAR(user->encoder[0], (float)model->last_list[partition][u], 0);
    model->seen++;
    return true;
}

static void compare_popular(struct model *model, struct state *state)
{
    struct err err = ERR_INIT;
    struct state_shard *shard = state_shard_new(state, 0);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        uint64_t keys[POPULAR];
        CHECK_OK(state_partition_open(shard, p, &err), err);
        int n = state_popularity_top(shard, p, (struct str){NULL, 0}, POPULAR, keys, NULL, NULL);
        CHECK_INT(n, model->n_popular[p]);
        qsort(model->popular[p], (size_t)n, sizeof model->popular[p][0], popular_order);
        for (int i = 0; i < n; i++)
            CHECK_HEX(keys[i], model->popular[p][i].key);
    }
    state_shard_free(shard);
}

/* Compares the store with the model at the store's own positions; *done gets the sum of them. */
static void look(int64_t *done)
{
    struct state_options options = options_of_test();
    struct err err = ERR_INIT;
    struct model *model = mem_zalloc(sizeof *model);
    struct state *state = fixture_open(folder, &options);
    CHECK_OK(state_positions_each(state, take_position, model, &err), err);
    model_build(model);
    CHECK_OK(state_users_each(state, compare_user, model, &err), err);
    int met = 0;
    *done = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        for (int u = 0; u < USERS; u++)
            met += model->met[p][u];
        for (int t = 0; t < TOPICS; t++)
            *done += model->next[t][p];
    }
    CHECK_INT(model->seen, met);
    compare_popular(model, state);
    state_close(state);
    mem_free(model);
}

/* ---- the parent ---- */

static int child_status(pid_t child)
{
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    return status;
}

static int64_t run_look(void)
{
    int64_t done = -1;
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        look(&done);
        CHECK(write(ends[1], &done, sizeof done) == sizeof done);
        _exit(0);
    }
    CHECK_INT(child_status(child), 0);
    CHECK(read(ends[0], &done, sizeof done) == sizeof done);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return done;
}

/* Workers die after a random number of steps, or after a random time, which hits inside writes, flushes and the opening. */
static void test_kills(void)
{
    struct rng rng;
    rng_init(&rng, seed);
    fixture_folder(folder, sizeof folder);
    int kills = 0, status;
    for (int round = 0;; round++) {
        CHECK(round < KILLS_MAX);
        bool by_time = round % 3 == 2;
        uint64_t steps = by_time ? UINT64_MAX : rng_below(&rng, 600);
        pid_t child = fork();
        if (child == 0) {
            work((uint64_t)round, steps);
            _exit(0);
        }
        if (by_time) {
            sleep_us((long)rng_below(&rng, 40000));
            (void)kill(child, SIGKILL);
        }
        status = child_status(child);
        if (status == 0) break;
        CHECK_INT(WTERMSIG(status), SIGKILL);
        kills++;
        (void)run_look();
    }
    printf("  %d kills, sum of positions %" PRId64 "\n", kills, run_look());
    CHECK(kills >= KILLS_MIN);
    fixture_remove(folder);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(test_kills);
    return 0;
}
