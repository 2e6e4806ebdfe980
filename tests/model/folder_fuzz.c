/* A model folder in which one file is any bytes: it loads, or is refused with exit 6 and a text that names the folder. The first
 * byte chooses the file; the others are those of a good model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {"model.json", "items.json", "content.json", "ranker.json",
                                    "model.safetensors"};
enum { FILES = sizeof files / sizeof files[0], PATH_BYTES = 128 };

static char folder[] = "/tmp/freshet-folder-fuzz-XXXXXX";
static int last = -1; /* the file that is not the good model's */
static struct model *good;

static void path_of(const char *file, char *path)
{
    (void)snprintf(path, PATH_BYTES, "%s/%s", folder, file);
}

static void file_write(const char *file, const void *bytes, size_t n)
{
    char path[PATH_BYTES];
    path_of(file, path);
    FILE *stream = fopen(path, "wb");
    if (!stream || (n && fwrite(bytes, 1, n, stream) != n) || fclose(stream) != 0) abort();
}

static void folder_remove(void)
{
    char path[PATH_BYTES];
    for (int i = 0; i < FILES; i++) {
        path_of(files[i], path);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    model_free(good);
}

static struct model *small_model(void)
{
    static const struct str ids[] = {{"a", 1}, {"b", 1}, {"c", 1}},
                            content[] = {{"category:x", 10}};
    static const size_t start[] = {0, 1, 1, 1};
    static const int32_t features[] = {0};
    struct model_config config = {.N = 3,
                                  .D = 16,
                                  .H = 16,
                                  .L = 1,
                                  .F = 16,
                                  .n_types = 11,
                                  .n_gaps = 2,
                                  .n_content = 1,
                                  .encoder = ENCODER_LRU};
    float *params = mem_zalloc(model_params_floats(&config) * sizeof *params);
    struct model *model;
    struct err err = ERR_INIT;
    model_params_init(&config, 1, params);
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = content,
                                .feature_start = start,
                                .features = features,
                                .tenant = "",
                                .version = "v"};
    if (!model_from_params(&model, &parts, &err)) abort();
    mem_free(params);
    return model;
}

/* A model made elsewhere has no id, so its files may be changed one by one. */
static void good_save(void)
{
    static char text[8192];
    char path[PATH_BYTES];
    struct err err = ERR_INIT;
    if (!model_save(good, folder, &err)) abort();
    path_of("model.json", path);
    FILE *stream = fopen(path, "rb");
    if (!stream) abort();
    size_t n = fread(text, 1, sizeof text - 1, stream);
    (void)fclose(stream);
    text[n] = '\0';
    char *id = strstr(text, "\"id\"");
    if (!id) abort();
    id[1] = 'x';
    file_write("model.json", text, n);
}

static void start(void)
{
    if (good) return;
    good = small_model();
    if (!mkdtemp(folder) || atexit(folder_remove) != 0) abort();
    good_save();
}

/* The folder as it was: all files of the good model, no ranker. */
static void restore(int file)
{
    char path[PATH_BYTES];
    if (last == file || last < 0) return;
    path_of("ranker.json", path);
    (void)unlink(path);
    good_save();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model *model = NULL;
    struct err err = ERR_INIT;
    if (size == 0) return 0;
    start();
    int file = data[0] % FILES;
    restore(file);
    file_write(files[file], data + 1, size - 1);
    last = file;
    if (model_load(&model, folder, &err)) {
        struct model_info info = model_info(model);
        if (info.N < 1 || info.D < 1 || model_item_id(model, info.N - 1).len == 0) abort();
        model_free(model);
    } else if (err.exit_code != ERR_EXIT_MODEL || !strstr(err.text, folder)) {
        abort();
    }
    return 0;
}
