/* Checkpoints: a run that was killed anywhere goes on to the same bits; what is not this run's checkpoint is refused.
 * LINK: libxxhash */
#include "tests/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"
#include "train/train.h"

enum { EPOCHS_MAX = 8 };

static char path[64];

static struct train_options small_options(void)
{
    struct train_options options = support_options();
    options.batch = 300;
    options.epochs = 5;
    options.patience = 2;
    options.checkpoint = path;
    options.checkpoint_minutes = 0;
    return options;
}

static struct train_data *ring(uint64_t seed)
{
    return support_ring_data(120, 30, 12, 0.3, seed);
}

/* Of the ring's items: those with the same last digit are of one category. */
static struct train_catalogue *ring_catalogue(void)
{
    char text[1024];
    size_t at = (size_t)snprintf(text, sizeof text, "item,categories\n");
    for (int i = 0; i < 30; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "item-%d,c%d\n", i, i % 10);
    return support_catalogue(text, NULL);
}

/* What a run tells while it goes, and when it is to be killed. */
struct run {
    int steps;
    int kill_at; /* calls until SIGKILL; -1 never */
    struct train_epoch history[EPOCHS_MAX];
    int n_history;
};

static bool watch(void *context, const struct train_progress *p)
{
    struct run *run = context;
    if (run->kill_at >= 0 && run->steps == run->kill_at) (void)raise(SIGKILL);
    run->steps++;
    run->n_history = p->n_history;
    memcpy(run->history, p->history, (size_t)p->n_history * sizeof *p->history);
    return true;
}

static struct model *learn(const struct train_data *data, const struct train_options *options,
                           struct run *run, struct train_result *result)
{
    struct model *model = NULL;
    struct err err = ERR_INIT;
    CHECK_OK(train_model(data, options, watch, run, &model, result, &err), err);
    return model;
}

/* Runs in a child that kills itself after so many calls. */
static void learn_and_die(const struct train_data *data, const struct train_options *options,
                          int kill_at)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct run run = {.kill_at = kill_at};
        struct train_result result;
        model_free(learn(data, options, &run, &result));
        _exit(0);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

static void same_model(const struct model *a, const struct model *b)
{
    struct model_config config = model_shape(a);
    size_t bytes = model_params_floats(&config) * sizeof(float);
    CHECK_HEX(model_info(a).id, model_info(b).id);
    CHECK_BYTES(model_raw_params(a), bytes, model_raw_params(b), bytes);
}

static void same_after_kills(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct train_data *data = ring(rng_u64(&rng));
    struct train_catalogue *catalogue = ring_catalogue();
    for (int loss = TRAIN_FULL; loss <= TRAIN_GBCE; loss++) {
        struct train_options options = small_options();
        options.catalogue = loss == TRAIN_GBCE ? NULL : catalogue;
        options.loss = (enum train_loss)loss;
        options.negatives = 8;
        options.seed = rng_below(&rng, 1000);
        struct run whole = {.kill_at = -1}, rest = {.kill_at = -1};
        struct train_result want, got;
        struct model *a = learn(data, &options, &whole, &want);
        (void)unlink(path);
        options.resume = true;
        int kills = 0;
        for (int done = 0; done < whole.steps; kills++) {
            int steps = 1 + (int)rng_below(&rng, (uint64_t)whole.steps / 3);
            options.threads = 1 + (int)rng_below(&rng, 2);
            options.checkpoint_minutes = rng_below(&rng, 3) ? 0 : 1e6; /* else epochs' ends only */
            learn_and_die(data, &options, steps);
            done += steps;
        }
        struct model *b = learn(data, &options, &rest, &got);
        printf("  %s: %d calls, %d kills, best epoch %d of %d, %d calls behind the last kill\n",
               ((const char *[]){"full", "sampled", "gbce"})[loss], whole.steps, kills,
               want.best_epoch, want.epochs, rest.steps);
        same_model(a, b);
        CHECK(rest.steps < whole.steps);
        CHECK_INT(got.epochs, want.epochs);
        CHECK_INT(got.best_epoch, want.best_epoch);
        CHECK_NEAR(got.loss, want.loss, 0);
        CHECK_NEAR(got.ndcg10, want.ndcg10, 0);
        for (int e = 0; e < rest.n_history; e++) {
            CHECK_NEAR(rest.history[e].loss, whole.history[e].loss, 0);
            CHECK_NEAR(rest.history[e].rate, whole.history[e].rate, 0);
            CHECK_NEAR(rest.history[e].mrr20, whole.history[e].mrr20, 0);
            CHECK_INT(rest.history[e].positions, whole.history[e].positions);
        }
        CHECK_INT(unlink(path), 0);
        model_free(a);
        model_free(b);
    }
    train_catalogue_free(catalogue);
    train_data_free(data);
}

static void refuse(const struct train_data *data, const struct train_options *options,
                   const char *why)
{
    struct model *model = NULL;
    struct train_result result;
    struct err err = ERR_INIT;
    CHECK_FAIL(train_model(data, options, NULL, NULL, &model, &result, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, why);
    CHECK_CONTAINS(err.text, path);
}

/* A checkpoint of two epochs of five. */
static void leave_checkpoint(const struct train_data *data, const struct train_options *options)
{
    (void)unlink(path);
    learn_and_die(data, options, 12);
    CHECK_INT(access(path, F_OK), 0);
}

static void of_another_run(void)
{
    struct train_data *data = ring(3), *other = ring(4);
    struct train_options options = small_options();
    leave_checkpoint(data, &options);
    options.resume = true;
    const struct train_options mine = options;
    options.rate = 0.02;
    refuse(data, &options, "\"lr 0.0");
    options = mine;
    options.seed = 2;
    refuse(data, &options, "\"seed 2\"");
    options = mine;
    options.loss = TRAIN_SAMPLED;
    refuse(data, &options, "\"loss ");
    options = mine;
    options.dim = 32;
    refuse(data, &options, "\"dim 16\"");
    options = mine;
    refuse(other, &options, "\"data ");
    struct train_catalogue *catalogue = ring_catalogue();
    options.catalogue = catalogue;
    refuse(data, &options, "\"content ");
    options = mine;
    train_catalogue_free(catalogue);
    /* What is no part of the result may differ. */
    options.threads = 1;
    options.version = "another name";
    struct run run = {.kill_at = -1};
    struct train_result result;
    model_free(learn(data, &options, &run, &result));
    CHECK_INT(unlink(path), 0);
    train_data_free(data);
    train_data_free(other);
}

static void write_file(const uint8_t *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK_INT(fwrite(bytes, 1, n, file), n);
    CHECK_INT(fclose(file), 0);
}

static uint8_t *read_checkpoint(size_t *n)
{
    enum { ROOM = 1 << 20 };
    uint8_t *bytes = mem_alloc(ROOM);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    *n = fread(bytes, 1, ROOM, file);
    CHECK(*n > 100 && *n < ROOM);
    CHECK_INT(fclose(file), 0);
    return bytes;
}

static void damaged(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct train_data *data = ring(5);
    struct train_options options = small_options();
    leave_checkpoint(data, &options);
    options.resume = true;
    size_t n;
    uint8_t *bytes = read_checkpoint(&n);
    for (int trial = 0; trial < 40; trial++) {
        write_file(bytes, (size_t)rng_below(&rng, n));
        refuse(data, &options, "start anew");
        size_t at = (size_t)rng_below(&rng, n);
        uint8_t bit = (uint8_t)(1u << rng_below(&rng, 8));
        bytes[at] ^= bit;
        write_file(bytes, n);
        refuse(data, &options, "start anew");
        bytes[at] ^= bit;
    }
    bytes = mem_realloc(bytes, n + 1);
    bytes[n] = 0;
    write_file(bytes, n + 1);
    refuse(data, &options, "cut short or was changed");
    CHECK_INT(unlink(path), 0);
    mem_free(bytes);
    train_data_free(data);
}

/* With a checksum that fits, whatever the state says leads to an error or to a model, never further. */
static void forged(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    struct train_data *data = ring(6);
    struct train_options options = small_options();
    options.epochs = 3;
    leave_checkpoint(data, &options);
    options.resume = true;
    options.checkpoint_minutes = 1e6;
    size_t n;
    uint8_t *bytes = read_checkpoint(&n), *forgery = mem_alloc(n);
    uint32_t settings;
    memcpy(&settings, bytes + 12, sizeof settings);
    int refused = 0, taken = 0;
    for (int trial = 0; trial < 100; trial++) {
        memcpy(forgery, bytes, n);
        size_t from = 24 + settings, room = n - 8 - 8 - from;
        size_t at = from + (size_t)rng_below(&rng, trial % 2 ? 120 : room);
        uint64_t junk = rng_below(&rng, 2) ? rng_u64(&rng) : rng_below(&rng, 300);
        memcpy(forgery + at, &junk, sizeof junk);
        uint64_t digest = XXH3_64bits(forgery, n - 8);
        memcpy(forgery + n - 8, &digest, sizeof digest);
        write_file(forgery, n);
        struct model *model = NULL;
        struct train_result result;
        struct err err = ERR_INIT;
        bool ok = train_model(data, &options, NULL, NULL, &model, &result, &err);
        CHECK(ok || err.class == ERR_FATAL);
        refused += !ok;
        taken += ok;
        model_free(model);
    }
    printf("  %d refused, %d taken\n", refused, taken);
    CHECK(refused > 3 && taken > 0);
    CHECK_INT(unlink(path), 0);
    mem_free(bytes);
    mem_free(forgery);
    train_data_free(data);
}

/* Where no checkpoint can be written, training goes on; --resume without a file begins. */
static void nowhere_to_write(void)
{
    struct train_data *data = ring(7);
    struct train_options options = small_options();
    options.epochs = 2;
    struct run run = {.kill_at = -1};
    struct train_result result;
    options.checkpoint = NULL;
    struct model *a = learn(data, &options, &run, &result);
    options.checkpoint = "/nowhere/at/all/checkpoint";
    options.checkpoint_minutes = 1e6;
    options.resume = true;
    struct model *b = learn(data, &options, &run, &result);
    same_model(a, b);
    model_free(a);
    model_free(b);
    train_data_free(data);
}

int main(void)
{
    (void)snprintf(path, sizeof path, "/tmp/freshet-checkpoint-%d", (int)getpid());
    CASE(same_after_kills);
    CASE(of_another_run);
    CASE(damaged);
    CASE(forged);
    CASE(nowhere_to_write);
    return 0;
}
