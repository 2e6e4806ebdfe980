/* What the tests of train/ share. */
#include "tests/train/support.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"

/* A new file with this text; path is filled in. */
static void write_text(char *path, const char *text)
{
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    CHECK_INT(close(fd), 0);
}

struct train_catalogue *support_catalogue(const char *text, const char *map)
{
    char path[] = "/tmp/freshet-train-XXXXXX";
    struct train_catalogue *catalogue = NULL;
    struct err err = ERR_INIT;
    write_text(path, text);
    CHECK_OK(train_catalogue_read(&catalogue, path, map, "", &err), err);
    CHECK_INT(unlink(path), 0);
    return catalogue;
}

struct train_data *support_data(const char *text, enum log_format_kind kind,
                                const struct train_source *source)
{
    char path[] = "/tmp/freshet-train-XXXXXX";
    write_text(path, text);
    const char *paths[] = {path};
    struct train_source all = {0};
    if (source) all = *source;
    all.paths = paths;
    all.n_paths = 1;
    all.kind = kind;
    struct train_data *data = NULL;
    struct err err = ERR_INIT;
    CHECK_OK(train_data_read(&data, &all, &err), err);
    CHECK_INT(unlink(path), 0);
    return data;
}

char *support_ring(int users, int items, int length, double noise, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    size_t room = (size_t)(users * length) * 24 + 1, at = 0;
    char *text = mem_alloc(room);
    for (int u = 0; u < users; u++) {
        uint64_t item = rng_below(&rng, (uint64_t)items);
        for (int t = 0; t < length; t++) {
            int n = snprintf(text + at, room - at, "u%d item-%d\n", u, (int)item);
            CHECK(n > 0 && (size_t)n < room - at);
            at += (size_t)n;
            item = rng_unit(&rng) < noise ? rng_below(&rng, (uint64_t)items)
                                          : (item + 1) % (uint64_t)items;
        }
    }
    return text;
}

struct train_data *support_ring_data(int users, int items, int length, double noise, uint64_t seed)
{
    char *text = support_ring(users, items, length, noise, seed);
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    return data;
}

struct train_options support_options(void)
{
    struct train_options options = train_options_default();
    options.dim = 16;
    options.hidden = 16;
    options.feed = 32;
    options.blocks = 1;
    options.batch = 128;
    options.rate = 0.01;
    return options;
}

struct model *support_learn(const struct train_data *data, const struct train_options *options,
                            struct train_result *result)
{
    struct model *model = NULL;
    struct err err = ERR_INIT;
    CHECK_OK(train_model(data, options, NULL, NULL, &model, result, &err), err);
    return model;
}
