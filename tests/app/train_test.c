/* `freshet train` under kill -9: the program is killed at any moment, also while it writes a checkpoint, and started again with
 * --resume until it ends; the model is that of a run that was let alone. */
#include "tests/test.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "tests/app/program.h"

static char folder[64];

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void write_log(struct rng *rng)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/log.txt", folder);
    FILE *file = fopen(name, "w");
    CHECK(file != NULL);
    for (int u = 0; u < 150; u++) {
        uint64_t item = rng_below(rng, 60);
        for (int t = 0; t < 12; t++) {
            CHECK(fprintf(file, "u%d item-%d\n", u, (int)item) > 0);
            item = rng_unit(rng) < 0.3 ? rng_below(rng, 60) : (item + 1) % 60;
        }
    }
    CHECK_INT(fclose(file), 0);
}

static size_t read_model(const char *out, char *bytes, size_t room)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/%s/model.safetensors", folder, out);
    FILE *file = fopen(name, "rb");
    CHECK(file != NULL);
    size_t n = fread(bytes, 1, room, file);
    CHECK(n > 1000 && n < room);
    CHECK_INT(fclose(file), 0);
    return n;
}

static bool has_checkpoint(const char *out)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/%s/training.checkpoint", folder, out);
    return access(name, F_OK) == 0;
}

/* Epochs in a run's training.jsonl. */
static int epochs_told(const char *out)
{
    char name[128];
    int lines = 0;
    (void)snprintf(name, sizeof name, "%s/%s/training.jsonl", folder, out);
    FILE *file = fopen(name, "r");
    CHECK(file != NULL);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    CHECK_INT(fclose(file), 0);
    return lines;
}

#define TRAIN                                                                                      \
    "train --input log.txt --format pairs --quiet --dim 16 --epochs 6 --batch 200 --lr 0.01 "      \
    "--max-len 8 "

/* A number of a model's model.json. */
static int shape_of(const char *out, const char *name)
{
    char path[128], text[1024];
    (void)snprintf(path, sizeof path, "%s/%s/model.json", folder, out);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    CHECK_INT(fclose(file), 0);
    const char *at = strstr(text, name);
    CHECK(at != NULL);
    return (int)strtol(at + strlen(name), NULL, 10);
}

/* typed.csv: views of 50 users, and purchases when it has two types; as events, or else as sessions. */
static void write_typed_log(bool is_events, bool has_two)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/typed.csv", folder);
    FILE *file = fopen(name, "w");
    CHECK(file != NULL);
    CHECK(fputs(is_events ? "user,item,type,time\n" : "SessionId ItemId Time\n", file) >= 0);
    for (int e = 0; e < 400; e++) {
        const char *type = has_two && e % 5 == 0 ? "purchase" : "view";
        int time_s = 1600000000 + 60 * e;
        if (is_events)
            CHECK(fprintf(file, "u%d,i%d,%s,%d\n", e / 8, e % 13, type, time_s) > 0);
        else
            CHECK(fprintf(file, "u%d i%d %d\n", e / 8, e % 13, time_s) > 0);
    }
    CHECK_INT(fclose(file), 0);
}

/* What the encoder sees of the same events, by the log's format and the flags. */
static void inputs_by_format(void)
{
    static const struct {
        const char *types, *flags;
        bool sees_types, sees_gaps;
    } cases[] = {{"view,purchase", "--format events", true, true},
                 {"view", "--format events", false, true},
                 {"view,purchase", "--format events --use-types false", false, true},
                 {"view,purchase", "--format events --use-gaps false", true, false},
                 {"view", "--format sessions", false, false},
                 {"view", "--format sessions --use-types --use-gaps", true, true}};
    char arguments[256];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        write_typed_log(strstr(cases[c].flags, "events") != NULL,
                        strchr(cases[c].types, ',') != NULL);
        (void)snprintf(arguments, sizeof arguments,
                       "train --input typed.csv %s --quiet --dim 16 --epochs 1 --ranker false "
                       "--out typed",
                       cases[c].flags);
        printf("  %s, %s\n", cases[c].types, cases[c].flags);
        CHECK_INT(program_call(folder, "", arguments), 0);
        CHECK_INT(shape_of("typed", "\"n_types\": ") > 0, cases[c].sees_types);
        CHECK_INT(shape_of("typed", "\"n_gaps\": ") > 0, cases[c].sees_gaps);
    }
}

static void killed_and_resumed(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    static char want[1 << 20], got[1 << 20];
    write_log(&rng);
    double started = now_s();
    CHECK_INT(program_call(folder, "", TRAIN "--out whole --checkpoint-minutes 0"), 0);
    double took = now_s() - started;
    CHECK(!has_checkpoint("whole"));
    size_t n = read_model("whole", want, sizeof want);
    /* A machine that has become faster since would kill nothing: then once more, sooner. */
    int kills = 0;
    for (double reach = took; kills == 0 && reach > took / 1000; reach /= 2) {
        int code = 137;
        for (int trial = 0; trial < 25 && code != 0; trial++) {
            char kill[64];
            (void)snprintf(kill, sizeof kill, "timeout -s KILL %.4f",
                           (0.1 + 0.7 * rng_unit(&rng)) * reach);
            code = program_call(folder, kill, TRAIN "--out broken --resume --checkpoint-minutes 0");
            if (code != 0 && code != 137) printf("%s", program_output);
            CHECK(code == 0 || code == 137);
            kills += code != 0;
        }
    }
    CHECK_INT(program_call(folder, "", TRAIN "--out broken --resume --checkpoint-minutes 0"), 0);
    printf("  %.3f s let alone, %d kills\n", took, kills);
    CHECK(kills > 0);
    CHECK_INT(epochs_told("whole"), 6);
    CHECK_INT(epochs_told("broken"), 6);
    CHECK(!has_checkpoint("broken"));
    CHECK_BYTES(want, n, got, read_model("broken", got, sizeof got));
}

static void tells_what_differs(void)
{
    int code = 0;
    for (double seconds = 0.02; !has_checkpoint("other") && seconds < 30; seconds *= 1.5) {
        char kill[64];
        (void)snprintf(kill, sizeof kill, "timeout -s KILL %.3f", seconds);
        code =
            program_call(folder, kill, TRAIN "--epochs 10000 --out other --checkpoint-minutes 0");
        CHECK_INT(code, 137);
    }
    CHECK_INT(program_call(folder, "", TRAIN "--out other --resume"), 2);
    CHECK_CONTAINS(program_output, "it has \"epochs 10000\", this run has \"epochs 6\"");
    /* Without --resume it is replaced, and said so. */
    CHECK_INT(program_call(folder, "", TRAIN "--out other"), 0);
    CHECK_CONTAINS(program_output, "--resume");
    CHECK(!has_checkpoint("other"));
}

int main(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-train-test-%d", (int)getpid());
    CHECK_INT(mkdir(folder, 0777), 0);
    CASE(inputs_by_format);
    CASE(killed_and_resumed);
    CASE(tells_what_differs);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_INT(system(command), 0);
    return 0;
}
