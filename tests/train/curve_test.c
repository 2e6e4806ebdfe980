/* The files that tell how training went: numbers as given, a picture that is whole and inside its frame.
 * LINK: jansson */
#include "tests/test.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "train/train.h"

enum { EPOCHS = 300, ROOM = 1 << 18 };

static char folder[64];
static struct train_epoch history[EPOCHS];
static char text[ROOM];

static const char *read_text(const char *file)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *stream = fopen(path, "r");
    CHECK(stream != NULL);
    size_t n = fread(text, 1, ROOM - 1, stream);
    CHECK(n > 0 && n < ROOM - 1);
    text[n] = '\0';
    CHECK_INT(fclose(stream), 0);
    return text;
}

static void write_curve(int n, int best, enum train_watch watch)
{
    struct train_curve curve = {history, n, best, watch};
    struct err err = ERR_INIT;
    CHECK_OK(train_curve_write(folder, &curve, &err), err);
}

static double number(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    CHECK(json_is_number(value));
    return json_number_value(value);
}

static void check_lines(int n, int best)
{
    char *at = (char *)(uintptr_t)read_text("training.jsonl");
    for (int i = 0; i < n; i++) {
        char *end = strchr(at, '\n');
        CHECK(end != NULL);
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        CHECK(line != NULL);
        CHECK_INT(number(line, "epoch"), i + 1);
        CHECK_NEAR(number(line, "loss"), history[i].loss, 1e-5 * fabs(history[i].loss));
        CHECK_NEAR(number(line, "rate"), history[i].rate, 1e-6);
        CHECK_NEAR(number(line, "hr@10"), history[i].hr10, 1e-6);
        CHECK_NEAR(number(line, "ndcg@10"), history[i].ndcg10, 1e-6);
        CHECK_NEAR(number(line, "mrr@20"), history[i].mrr20, 1e-6);
        CHECK_NEAR(number(line, "seconds"), history[i].seconds, 1e-3);
        CHECK_INT(number(line, "positions"), history[i].positions);
        CHECK_INT(json_is_true(json_object_get(line, "best")), i + 1 == best);
        if (history[i].seconds > 0)
            CHECK_NEAR(number(line, "positions_per_s"),
                       (double)history[i].positions / history[i].seconds, 0.06);
        json_decref(line);
        at = end + 1;
    }
    CHECK_STR(at, "");
}

/* Points of all lines are n each and lie in the picture's plot. */
static void check_picture(int n, int lines)
{
    const char *svg = read_text("learning_curve.svg");
    CHECK(strncmp(svg, "<svg ", 5) == 0);
    CHECK_STR(svg + strlen(svg) - 7, "</svg>\n");
    CHECK(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
    int found = 0, open = 0;
    for (const char *c = svg; *c; c++) {
        open += *c == '<' ? 1 : *c == '>' ? -1 : 0;
        CHECK(open == 0 || open == 1);
    }
    for (const char *at = svg; (at = strstr(at, "points=\"")) != NULL; found++) {
        at += 8;
        for (int i = 0; i < n; i++) {
            double x, y;
            int used = 0;
            CHECK_INT(sscanf(at, " %lf,%lf%n", &x, &y, &used), 2);
            CHECK(x >= 79.9 && x <= 780.1);
            CHECK(y >= 59.9 && y <= 400.1);
            at += used;
        }
        CHECK_INT(*at, '"');
    }
    CHECK_INT(found, lines);
    CHECK_CONTAINS(svg, "training loss, nats");
    CHECK_CONTAINS(svg, ">epoch (");
}

static void random_histories(void)
{
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    static const int counts[] = {1, 2, 3, 7, 20, 61, EPOCHS};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int n = counts[c], best = 1 + (int)rng_below(&rng, (uint64_t)n);
        double scale = pow(10, 4 * rng_unit(&rng) - 2);
        for (int i = 0; i < n; i++) {
            history[i] = (struct train_epoch){.loss = scale * (1 + rng_unit(&rng)),
                                              .rate = 1e-3 * rng_unit(&rng),
                                              .hr10 = rng_unit(&rng),
                                              .ndcg10 = rng_unit(&rng),
                                              .mrr20 = 1e-3 * rng_unit(&rng),
                                              .seconds = 10 * rng_unit(&rng),
                                              .positions = rng_below(&rng, 1000000)};
        }
        for (int watch = WATCH_HR10; watch <= WATCH_MRR20; watch++) {
            static const char *const titles[] = {">validation HR@10<", ">validation NDCG@10<",
                                                 ">validation MRR@20<"};
            char headline[64];
            write_curve(n, best, (enum train_watch)watch);
            check_lines(n, best);
            check_picture(n, 2);
            CHECK_CONTAINS(text, titles[watch]);
            (void)snprintf(headline, sizeof headline, ">best: epoch %d<", best);
            CHECK_CONTAINS(text, headline);
        }
    }
}

/* The same value each time, and no validation at all: axes all the same. */
static void flat_histories(void)
{
    for (int i = 0; i < 5; i++)
        history[i] = (struct train_epoch){.loss = 7, .hr10 = 0.25, .positions = 10};
    write_curve(5, 1, WATCH_HR10);
    check_lines(5, 1);
    check_picture(5, 2);
    write_curve(5, 0, WATCH_NDCG10);
    check_picture(5, 1);
    CHECK(strstr(text, "validation") == NULL);
    for (int i = 0; i < 5; i++)
        history[i].loss = 0;
    write_curve(5, 0, WATCH_NDCG10);
    check_picture(5, 1);
}

static void nowhere(void)
{
    struct train_curve curve = {history, 1, 0, WATCH_HR10};
    struct err err = ERR_INIT;
    CHECK_FAIL(train_curve_write("/nowhere/at/all", &curve, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "/nowhere/at/all");
    curve.n = 0;
    CHECK_OK(train_curve_write("/nowhere/at/all", &curve, &err), err);
}

int main(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-curve-%d", (int)getpid());
    CHECK_INT(mkdir(folder, 0777), 0);
    CASE(random_histories);
    CASE(flat_histories);
    CASE(nowhere);
    static const char *const files[] = {"training.jsonl", "learning_curve.svg"};
    for (int i = 0; i < 2; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        CHECK_INT(unlink(path), 0);
    }
    CHECK_INT(rmdir(folder), 0);
    return 0;
}
