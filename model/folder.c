/* A model on disk: a folder of three files, and one more when it has content features, one when it has a ranker.
 *
 *   model.json         {"format":1, "encoder":"lru", "D":64, "H":128, "L":2, "F":256, "N":50000,
 *                       "n_types":0, "n_gaps":0, "n_content" when it is not 0, and of attention "heads",
 *                       "positions", "window", "rotary" (0 or 1); "tenant":"", "model_version":"...",
 *                       "id":"16 hex digits"}; id may be missing (models made elsewhere), else it must
 *                       be that of the other two files, so that files of different models do not mix
 *   model.safetensors  the tensors of the parameter table, float32, no others (safetensors.c)
 *   items.json         ["item id", ...] in the order of item.embedding's rows
 *   content.json       content features and which items have them (content_file.c); only with n_content
 *   ranker.json        the learned ranker (ranker_file.c); missing: none
 *
 * Each file is written beside its place and renamed; model.json goes last, and its id refuses whatever a
 * crash in between left behind. */

#include "model/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { FORMAT = 1, PATH_BYTES = 4096, META_MAX = 1 << 20 };

static const char META[] = "model.json", TENSORS[] = "model.safetensors", ITEMS[] = "items.json",
                  CONTENT[] = "content.json", RANKER[] = "ranker.json";

/* ---- reading ---- */

static bool make_path(const char *folder, const char *file, const char *suffix, char *path,
                      struct err *err)
{
    int n = snprintf(path, PATH_BYTES, "%s/%s%s", folder, file, suffix);
    if (n < 0 || n >= PATH_BYTES)
        return err_fatal(err, ERR_EXIT_MODEL, "path of the model folder is too long");
    return true;
}

static bool read_all(int fd, char *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO; /* it shrank while being read */
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* The whole file, to be freed by mem_free. max: bytes. */
static bool read_file(const char *folder, const char *file, uint64_t max, struct str *bytes,
                      struct err *err)
{
    char path[PATH_BYTES];
    if (!make_path(folder, file, "", path, err)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        err_fatal(err, ERR_EXIT_MODEL, "cannot open %s: %s", path, strerror(errno));
        if (fd >= 0) (void)close(fd);
        return false;
    }
    char *data = NULL;
    bool ok = false;
    if (!S_ISREG(info.st_mode)) {
        err_fatal(err, ERR_EXIT_MODEL, "%s is not a file", path);
    } else if (info.st_size < 1 || (uint64_t)info.st_size > max) {
        err_fatal(err, ERR_EXIT_MODEL, "%s has %lld bytes, 1 to %" PRIu64 " are expected", path,
                  (long long)info.st_size, max);
    } else {
        data = mem_alloc((size_t)info.st_size);
        ok = read_all(fd, data, (size_t)info.st_size);
        if (!ok) err_fatal(err, ERR_EXIT_MODEL, "cannot read %s: %s", path, strerror(errno));
    }
    (void)close(fd);
    *bytes = (struct str){data, ok ? (size_t)info.st_size : 0};
    if (!ok) mem_free(data);
    return ok;
}

static bool read_json(const char *folder, const char *file, uint64_t max, json_t **json,
                      struct err *err)
{
    struct str bytes;
    if (!read_file(folder, file, max, &bytes, err)) return false;
    json_error_t why;
    *json = json_loadb(bytes.ptr, bytes.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    mem_free((void *)(uintptr_t)bytes.ptr);
    if (*json == NULL)
        return err_fatal(err, ERR_EXIT_MODEL, "%s/%s, line %d: %s", folder, file, why.line,
                         why.text);
    return true;
}

/* An integer of model.json; fallback when it is missing and fallback is not negative. */
static bool meta_int(const json_t *meta, const char *name, int fallback, int *value,
                     struct err *err)
{
    const json_t *json = json_object_get(meta, name);
    *value = fallback;
    if (json == NULL && fallback >= 0) return true;
    json_int_t number = json_integer_value(json);
    if (!json_is_integer(json) || number < 0 || number > INT32_MAX)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: \"%s\" must be a whole number", META, name);
    *value = (int)number;
    return true;
}

static bool meta_text(const json_t *meta, const char *name, const char **value, struct err *err)
{
    const json_t *json = json_object_get(meta, name);
    *value = json_string_value(json);
    if (*value == NULL || strlen(*value) != json_string_length(json) || strlen(*value) > 256)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: \"%s\" must be a text of at most 256 bytes",
                         META, name);
    return true;
}

/* The encoder's kind by its name. */
static bool meta_encoder(const json_t *meta, enum model_encoder_kind *kind, struct err *err)
{
    const char *name;
    if (!meta_text(meta, "encoder", &name, err)) return false;
    for (int k = 0; k < ENCODER_KINDS; k++) {
        *kind = (enum model_encoder_kind)k;
        if (strcmp(name, model_encoder_names[k]) == 0 && model__encoders[k] != NULL) return true;
    }
    return err_fatal(err, ERR_EXIT_MODEL, "%s: encoder \"%.40s\" is unknown to this freshet", META,
                     name);
}

static bool meta_shape(const json_t *meta, struct model_config *c, struct err *err)
{
    int rotary;
    if (!meta_encoder(meta, &c->encoder, err) || !meta_int(meta, "D", -1, &c->D, err) ||
        !meta_int(meta, "H", -1, &c->H, err) || !meta_int(meta, "L", -1, &c->L, err) ||
        !meta_int(meta, "F", -1, &c->F, err) || !meta_int(meta, "N", -1, &c->N, err) ||
        !meta_int(meta, "n_types", 0, &c->n_types, err) ||
        !meta_int(meta, "n_gaps", 0, &c->n_gaps, err) ||
        !meta_int(meta, "n_content", 0, &c->n_content, err) ||
        !meta_int(meta, "heads", 0, &c->heads, err) ||
        !meta_int(meta, "positions", 0, &c->positions, err) ||
        !meta_int(meta, "window", 0, &c->window, err) || !meta_int(meta, "rotary", 0, &rotary, err))
        return false;
    c->rotary = rotary != 0;
    return true;
}

/* Texts of parts borrow from meta. */
static bool read_meta(const json_t *meta, struct model_parts *parts, struct err *err)
{
    struct model_config *c = &parts->config;
    int format;
    if (!meta_int(meta, "format", -1, &format, err)) return false;
    if (format != FORMAT)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: format %d, this freshet reads %d", META, format,
                         FORMAT);
    if (!meta_shape(meta, c, err) || !meta_text(meta, "tenant", &parts->tenant, err) ||
        !meta_text(meta, "model_version", &parts->version, err))
        return false;
    const char *wrong = model_config_check(c);
    if (wrong != NULL) return err_fatal(err, ERR_EXIT_MODEL, "%s: %s", META, wrong);
    return true;
}

/* Copies the tensors of the file into a parameter block of the config, checking names and shapes. */
static bool place_tensors(const struct model_config *config, struct str bytes, float *params,
                          struct err *err)
{
    struct model_param table[MODEL_MAX_PARAMS];
    struct model__tensor_entry entries[MODEL_MAX_PARAMS];
    int n = model_params(config, table), n_entries;
    if (!model__safetensors_parse(bytes, entries, MODEL_MAX_PARAMS, &n_entries, err))
        return err_wrap(err, "%s", TENSORS);
    for (int p = 0; p < n; p++) {
        int e = 0;
        while (e < n_entries && strcmp(entries[e].name, table[p].name) != 0)
            e++;
        if (e == n_entries)
            return err_fatal(err, ERR_EXIT_MODEL, "%s: tensor %s is missing", TENSORS,
                             table[p].name);
        bool same = entries[e].n_dims == table[p].n_dims;
        for (int d = 0; same && d < table[p].n_dims; d++)
            same = entries[e].dims[d] == table[p].dims[d];
        if (!same)
            return err_fatal(err, ERR_EXIT_MODEL, "%s: tensor %s has not the shape that %s says",
                             TENSORS, table[p].name, META);
        memcpy(params + table[p].offset, bytes.ptr + entries[e].begin,
               table[p].count * sizeof *params);
    }
    if (n_entries != n)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: %d tensors, %d are expected", TENSORS, n_entries,
                         n);
    return true;
}

/* The parameter block, to be freed by mem_free; NULL with err. */
static float *load_params(const char *folder, const struct model_config *config, struct err *err)
{
    size_t floats = model_params_floats(config);
    struct str bytes;
    uint64_t max = MODEL__SAFETENSORS_MAX_HEADER + 8 + (uint64_t)floats * sizeof(float);
    if (!read_file(folder, TENSORS, max, &bytes, err)) return NULL;
    /* The file is refused before memory is asked for: N and n_content in model.json may be forged. */
    float *params = NULL;
    uint64_t rows = (uint64_t)config->N + (uint64_t)config->n_content;
    if (bytes.len < rows * (uint64_t)config->D * sizeof(float))
        err_fatal(err, ERR_EXIT_MODEL, "%s has %zu bytes, too few for %d items and %d features",
                  TENSORS, bytes.len, config->N, config->n_content);
    else
        params = mem_aligned(64, floats * sizeof *params);
    if (params != NULL && !place_tensors(config, bytes, params, err)) {
        mem_free(params);
        params = NULL;
    }
    mem_free((void *)(uintptr_t)bytes.ptr);
    return params;
}

static bool read_content(const char *folder, const struct model_config *config, json_t **json,
                         struct model__content_file *content, struct err *err)
{
    if (config->n_content == 0) return true;
    return read_json(folder, CONTENT, UINT64_C(1) << 33, json, err) &&
           (model__content_read(*json, config, content, err) || err_wrap(err, "%s", CONTENT));
}

static bool check_id(const json_t *meta, const struct model *model, struct err *err)
{
    const json_t *id = json_object_get(meta, "id");
    char own[17];
    (void)snprintf(own, sizeof own, "%016" PRIx64, model->id);
    if (id == NULL || (json_is_string(id) && strcmp(json_string_value(id), own) == 0)) return true;
    return err_fatal(
        err, ERR_EXIT_MODEL,
        "id in %s is not that of %s, %s and %s: the files are damaged or of two models", META,
        TENSORS, ITEMS, CONTENT);
}

static bool load_parts(struct model **model, const char *folder, const json_t *meta,
                       const json_t *items, struct err *err)
{
    struct model_parts parts = {.tenant = ""};
    if (!read_meta(meta, &parts, err)) return false;
    json_t *content_json = NULL;
    struct model__content_file content = {.names = NULL};
    float *params = NULL;
    struct str *ids = model__texts_read(items, ITEMS, parts.config.N, err);
    bool ok = ids != NULL && read_content(folder, &parts.config, &content_json, &content, err);
    if (ok) params = load_params(folder, &parts.config, err);
    parts.params = params;
    parts.item_ids = ids;
    parts.content = content.names;
    parts.feature_start = content.start;
    parts.features = content.features;
    ok = params != NULL && model_from_params(model, &parts, err);
    json_decref(content_json);
    model__content_file_free(&content);
    mem_free(params);
    mem_free(ids);
    if (ok && !check_id(meta, *model, err)) {
        model_free(*model);
        ok = false;
    }
    return ok;
}

static bool load_ranker(struct model *model, const char *folder, struct err *err)
{
    char path[PATH_BYTES];
    json_t *json;
    if (!make_path(folder, RANKER, "", path, err)) return false;
    if (access(path, F_OK) != 0 && errno == ENOENT) return true;
    if (!read_json(folder, RANKER, META_MAX, &json, err)) return false;
    bool ok = model__ranker_read(model, json, err);
    json_decref(json);
    return ok;
}

bool model_load(struct model **model, const char *folder, struct err *err)
{
    json_t *meta = NULL, *items = NULL;
    struct model *loaded = NULL;
    bool ok = read_json(folder, META, META_MAX, &meta, err) &&
              read_json(folder, ITEMS, UINT64_C(1) << 33, &items, err) &&
              load_parts(&loaded, folder, meta, items, err);
    json_decref(meta);
    json_decref(items);
    if (ok && !load_ranker(loaded, folder, err)) {
        model_free(loaded);
        ok = false;
    }
    if (!ok) return err_wrap(err, "model folder %s", folder);
    *model = loaded;
    return true;
}

/* ---- writing ---- */

/* A file being written beside its place. */
struct writer {
    const char *folder, *file;
    FILE *stream;
    char path[PATH_BYTES];
};

static bool writer_open(struct writer *writer, const char *folder, const char *file,
                        struct err *err)
{
    *writer = (struct writer){.folder = folder, .file = file};
    if (!make_path(folder, file, ".new", writer->path, err)) return false;
    writer->stream = fopen(writer->path, "wb");
    if (writer->stream == NULL)
        return err_fatal(err, ERR_EXIT_MODEL, "cannot create %s: %s", writer->path,
                         strerror(errno));
    return true;
}

/* Flushes to the disk and moves the file into its place. Write errors since open come out here. */
static bool writer_finish(struct writer *writer, struct err *err)
{
    char final[PATH_BYTES];
    bool ok = fflush(writer->stream) == 0 && !ferror(writer->stream) &&
              fsync(fileno(writer->stream)) == 0;
    int why = errno;
    if (fclose(writer->stream) != 0) ok = false;
    if (!make_path(writer->folder, writer->file, "", final, err)) return false;
    if (ok && rename(writer->path, final) != 0) {
        ok = false;
        why = errno;
    }
    if (ok) return true;
    (void)unlink(writer->path);
    return err_fatal(err, why == ENOSPC ? ERR_EXIT_DISK : ERR_EXIT_MODEL, "cannot write %s: %s",
                     final, strerror(why));
}

static bool save_tensors(const struct model *model, const char *folder, struct err *err)
{
    struct model_param table[MODEL_MAX_PARAMS];
    int n = model_params(&model->config, table);
    struct buf header;
    struct writer writer;
    if (!writer_open(&writer, folder, TENSORS, err)) return false;
    buf_init(&header, MODEL__SAFETENSORS_MAX_HEADER);
    model__safetensors_header(table, n, &header);
    (void)fwrite(header.data, 1, header.len, writer.stream);
    buf_fini(&header);
    for (int p = 0; p < n; p++)
        (void)fwrite(model->params + table[p].offset, sizeof(float), table[p].count, writer.stream);
    return writer_finish(&writer, err);
}

static bool save_items(const struct model *model, const char *folder, struct err *err)
{
    struct writer writer;
    if (!writer_open(&writer, folder, ITEMS, err)) return false;
    model__texts_write(model, model->config.N, model_item_id, writer.stream);
    (void)fputs("\n", writer.stream);
    return writer_finish(&writer, err);
}

static bool remove_file(const char *folder, const char *file, struct err *err)
{
    char path[PATH_BYTES];
    if (!make_path(folder, file, "", path, err)) return false;
    if (unlink(path) == 0 || errno == ENOENT) return true;
    return err_fatal(err, ERR_EXIT_MODEL, "cannot remove %s: %s", path, strerror(errno));
}

/* Takes away the features of a model that was here before when this one has none. */
static bool save_content(const struct model *model, const char *folder, struct err *err)
{
    struct writer writer;
    if (model->config.n_content == 0) return remove_file(folder, CONTENT, err);
    if (!writer_open(&writer, folder, CONTENT, err)) return false;
    model__content_write(model, writer.stream);
    return writer_finish(&writer, err);
}

/* NULL when a text is not UTF-8. */
static json_t *make_meta(const struct model *model)
{
    const struct model_config *c = &model->config;
    char id[17];
    (void)snprintf(id, sizeof id, "%016" PRIx64, model->id);
    json_t *meta = json_pack("{si ss si si si si si si si ss ss ss}", "format", FORMAT, "encoder",
                             model_encoder_names[c->encoder], "D", c->D, "H", c->H, "L", c->L, "F",
                             c->F, "N", c->N, "n_types", c->n_types, "n_gaps", c->n_gaps, "tenant",
                             model->tenant, "model_version", model->version, "id", id);
    if (meta != NULL && c->n_content > 0)
        (void)json_object_set_new(meta, "n_content", json_integer(c->n_content));
    if (meta == NULL || c->encoder != ENCODER_ATTENTION) return meta;
    json_t *more = json_pack("{si si si si}", "heads", c->heads, "positions", c->positions,
                             "window", c->window, "rotary", (int)c->rotary);
    (void)json_object_update(meta, more);
    json_decref(more);
    return meta;
}

static bool save_meta(const struct model *model, const char *folder, struct err *err)
{
    struct writer writer;
    if (!writer_open(&writer, folder, META, err)) return false;
    json_t *meta = make_meta(model);
    if (meta == NULL || json_dumpf(meta, writer.stream, JSON_INDENT(2)) != 0) {
        json_decref(meta);
        (void)fclose(writer.stream);
        (void)unlink(writer.path);
        return err_fatal(err, ERR_EXIT_MODEL, "tenant or version of the model is not UTF-8");
    }
    json_decref(meta);
    (void)fputs("\n", writer.stream);
    return writer_finish(&writer, err);
}

/* Takes away the ranker of a model that was here before when this one has none. */
static bool save_ranker(const struct model *model, const char *folder, struct err *err)
{
    struct writer writer;
    if (!model_ranker(model)) return remove_file(folder, RANKER, err);
    if (!writer_open(&writer, folder, RANKER, err)) return false;
    json_t *json = model__ranker_write(model);
    (void)json_dumpf(json, writer.stream, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(json);
    (void)fputs("\n", writer.stream);
    return writer_finish(&writer, err);
}

bool model_save(const struct model *model, const char *folder, struct err *err)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return err_fatal(err, ERR_EXIT_MODEL, "cannot create %s: %s", folder, strerror(errno));
    return save_tensors(model, folder, err) && save_items(model, folder, err) &&
           save_content(model, folder, err) && save_ranker(model, folder, err) &&
           save_meta(model, folder, err);
}
