/* Model folders: what is saved loads to the same bits, and damaged or forged files are refused with
 * ERR_FATAL, exit 6, and a text that says what is wrong. */

#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"
#include "schemas/schemas.h"

static char folder[] = "/tmp/freshet-model-XXXXXX";

static const char *const files[] = {"model.json", "model.safetensors", "items.json",
                                    "content.json"};
enum { FILES = 4 };

static void path_of(const char *file, char *path)
{
    CHECK(snprintf(path, 256, "%s/%s", folder, file) < 256);
}

static void write_file(const char *file, const void *bytes, size_t len)
{
    char path[256];
    path_of(file, path);
    FILE *stream = fopen(path, "wb");
    CHECK(stream != NULL);
    CHECK_INT(fwrite(bytes, 1, len, stream), len);
    CHECK_INT(fclose(stream), 0);
}

/* The file's bytes, to be freed by mem_free. */
static char *slurp(const char *file, size_t *len)
{
    char path[256];
    path_of(file, path);
    FILE *stream = fopen(path, "rb");
    CHECK(stream != NULL);
    CHECK_INT(fseek(stream, 0, SEEK_END), 0);
    *len = (size_t)ftell(stream);
    rewind(stream);
    char *bytes = mem_alloc(*len + 1);
    CHECK_INT(fread(bytes, 1, *len, stream), *len);
    CHECK_INT(fclose(stream), 0);
    bytes[*len] = 0;
    return bytes;
}

static struct model *small_model_with(enum model_encoder_kind kind, int n_content)
{
    struct model_config config = {.N = 5,
                                  .D = 16,
                                  .H = 16,
                                  .L = 2,
                                  .F = 32,
                                  .n_types = 11,
                                  .n_gaps = 4,
                                  .n_content = n_content,
                                  .encoder = kind};
    float *params = mem_zalloc(model_params_floats(&config) * sizeof *params);
    model_params_init(&config, 9, params);
    static const struct str ids[] = {{"plain", 5},
                                     {"\"quoted\\\n\"", 10},
                                     {"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x9B\x92", 9},
                                     {"with\0nul", 8},
                                     {" ", 1}};
    static const struct str content[] = {{"category:a", 10}, {"word:\xC3\xA4\"\0", 9}};
    static const size_t start[] = {0, 2, 2, 3, 3, 3};
    static const int32_t features[] = {1, 0, 1};
    for (int i = 0; i < n_content * config.D; i++)
        params[model_param_offset(&config, MODEL_CONTENT_EMBEDDING, 0) + (size_t)i] = (float)i;
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = content,
                                .feature_start = start,
                                .features = features,
                                .tenant = "t\xC3\xA9nant",
                                .version = "2026-01-01 \"a\""};
    struct model *model;
    struct err err = ERR_INIT;
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    mem_free(params);
    return model;
}

static struct model *small_model_of(enum model_encoder_kind kind)
{
    return small_model_with(kind, 0);
}

static struct model *small_model(void)
{
    return small_model_of(ENCODER_LRU);
}

/* With all of the files. */
static struct model *full_model(void)
{
    return small_model_with(ENCODER_LRU, 2);
}

static void save(const struct model *model)
{
    struct err err = ERR_INIT;
    CHECK_OK(model_save(model, folder, &err), err);
}

static void expect_refused(const char *part)
{
    struct model *model = NULL;
    struct err err = ERR_INIT;
    CHECK_FAIL(model_load(&model, folder, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_MODEL);
    CHECK_CONTAINS(err.text, folder);
    CHECK_CONTAINS(err.text, part);
    CHECK(model == NULL);
}

static void check_round_trip(enum model_encoder_kind kind, int S)
{
    struct model *saved = small_model_of(kind), *loaded;
    struct err err = ERR_INIT;
    save(saved);
    CHECK_OK(model_load(&loaded, folder, &err), err);
    struct model_info a = model_info(saved), b = model_info(loaded);
    CHECK_HEX(a.id, b.id);
    CHECK_STR(a.version, b.version);
    CHECK_STR(a.tenant, b.tenant);
    CHECK_STR(b.encoder, model_encoder_names[kind]);
    CHECK_INT(b.N, 5);
    CHECK_INT(b.S, S);
    size_t bytes = model_params_floats(&saved->config) * sizeof(float);
    CHECK_BYTES(model_raw_params(saved), bytes, model_raw_params(loaded), bytes);
    for (int32_t i = 0; i < 5; i++) {
        struct str id = model_item_id(loaded, i), want = model_item_id(saved, i);
        CHECK_BYTES(id.ptr, id.len, want.ptr, want.len);
        uint64_t key = schemas_item_key(str_of(a.tenant), want);
        CHECK_HEX(model_item_key(loaded, i), key);
        CHECK_INT(model_item_index(loaded, key), i);
    }
    CHECK_INT(model_item_index(loaded, 12345), -1);
    model_free(saved);
    model_free(loaded);
}

static void case_round_trip(void)
{
    check_round_trip(ENCODER_LRU, 2 * 32 + 16);
    check_round_trip(ENCODER_GRU, 2 * 16 + 16);
}

static void case_content(void)
{
    struct model *saved = full_model(), *plain = small_model(), *loaded;
    struct err err = ERR_INIT;
    char path[256];
    save(saved);
    CHECK_OK(model_load(&loaded, folder, &err), err);
    CHECK_HEX(model_info(loaded).id, model_info(saved).id);
    CHECK(model_info(loaded).id != model_info(plain).id);
    CHECK_INT(model_shape(loaded).n_content, 2);
    for (int f = 0; f < 2; f++) {
        struct str a = model_content_name(loaded, f), b = model_content_name(saved, f);
        CHECK_BYTES(a.ptr, a.len, b.ptr, b.len);
    }
    for (int32_t i = 0; i < 5; i++) {
        const int32_t *a, *b;
        size_t n = (size_t)model_item_features(saved, i, &a);
        CHECK_INT(n, i == 0 ? 2 : i == 2 ? 1 : 0);
        CHECK_INT(model_item_features(loaded, i, &b), n);
        CHECK_BYTES(a, n * sizeof *a, b, n * sizeof *b);
    }
    save(plain); /* takes the other's names away */
    path_of("content.json", path);
    CHECK(access(path, F_OK) != 0);
    model_free(loaded);
    model_free(plain);
    model_free(saved);
}

/* A model without a version's text has one that tells it from others, the same after loading. */
static void case_version(void)
{
    char versions[2][32];
    for (int i = 0; i < 2; i++) {
        struct model *random = model_random(5, 16, 16, 1, (uint64_t)i), *model, *loaded;
        struct str ids[5];
        struct err err = ERR_INIT;
        for (int32_t k = 0; k < 5; k++)
            ids[k] = model_item_id(random, k);
        struct model_parts parts = {.config = model_shape(random),
                                    .params = model_raw_params(random),
                                    .item_ids = ids,
                                    .tenant = "",
                                    .version = ""};
        CHECK_OK(model_from_params(&model, &parts, &err), err);
        save(model);
        CHECK_OK(model_load(&loaded, folder, &err), err);
        CHECK_STR(model_info(loaded).version, model_info(model).version);
        (void)snprintf(versions[i], sizeof versions[i], "lru-%08x",
                       (unsigned)(model_info(model).id >> 32));
        CHECK_STR(model_info(model).version, versions[i]);
        model_free(random);
        model_free(model);
        model_free(loaded);
    }
    CHECK(strcmp(versions[0], versions[1]) != 0);
}

/* The id of an lru model is part of what stores hold: it does not change between versions. */
static void case_known_id(void)
{
    struct model *lru = small_model(), *gru = small_model_of(ENCODER_GRU);
    CHECK_HEX(model_info(lru).id, UINT64_C(0x02d7e1a466c811f1));
    CHECK(model_info(gru).id != model_info(lru).id);
    model_free(lru);
    model_free(gru);
}

static void case_missing_files(void)
{
    struct model *model = full_model();
    for (size_t f = 0; f < FILES; f++) {
        char path[256];
        save(model);
        path_of(files[f], path);
        CHECK_INT(unlink(path), 0);
        expect_refused(files[f]);
        write_file(files[f], "", 0);
        expect_refused("0 bytes");
    }
    model_free(model);
}

static void case_every_truncation_is_refused(void)
{
    struct model *model = full_model();
    save(model);
    for (size_t f = 0; f < FILES; f++) {
        size_t len;
        char *bytes = slurp(files[f], &len);
        /* The line end of the JSON files may go. */
        size_t step = len > 4000 ? 97 : 1;
        for (size_t cut = 1; cut + 1 < len; cut += step) {
            write_file(files[f], bytes, cut);
            expect_refused(files[f]);
        }
        write_file(files[f], bytes, len);
        mem_free(bytes);
    }
    struct model *loaded;
    struct err err = ERR_INIT;
    CHECK_OK(model_load(&loaded, folder, &err), err);
    model_free(loaded);
    model_free(model);
}

/* A flipped bit of the numbers is found by the id, of the rest by its own check; none crashes. */
static void case_flipped_bits(void)
{
    struct model *model = full_model();
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    save(model);
    for (int i = 0; i < 400; i++) {
        const char *file = files[rng_below(&rng, FILES)];
        size_t len;
        char *bytes = slurp(file, &len), *good = slurp(file, &len);
        bytes[rng_below(&rng, len)] ^= (char)(1 << rng_below(&rng, 8));
        write_file(file, bytes, len);
        struct model *loaded = NULL;
        struct err err = ERR_INIT;
        if (model_load(&loaded, folder, &err)) {
            /* Only the version's text and spaces between things may differ. */
            CHECK_HEX(model_info(loaded).id, model_info(model).id);
            model_free(loaded);
        } else {
            CHECK_INT(err.exit_code, ERR_EXIT_MODEL);
        }
        write_file(file, good, len);
        mem_free(bytes);
        mem_free(good);
    }
    model_free(model);
}

/* Replaces the first `from` in a file by `to`. */
static void replace(const char *file, const char *from, const char *to)
{
    size_t len;
    char *bytes = slurp(file, &len), *at = NULL;
    for (size_t i = 0; at == NULL && i + strlen(from) <= len; i++)
        if (memcmp(bytes + i, from, strlen(from)) == 0) at = bytes + i;
    CHECK(at != NULL);
    char *changed = mem_alloc(len + strlen(to));
    size_t head = (size_t)(at - bytes), tail = len - head - strlen(from);
    memcpy(changed, bytes, head);
    memcpy(changed + head, to, strlen(to));
    memcpy(changed + head + strlen(to), at + strlen(from), tail);
    write_file(file, changed, head + strlen(to) + tail);
    mem_free(changed);
    mem_free(bytes);
}

/* A text of a file is replaced by another; part is what the refusal says. */
struct forgery {
    const char *file, *from, *to, *part;
};

/* Each alone in a folder of the model, which is freed. */
static void expect_forgeries_refused(struct model *model, const struct forgery *forged, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("  %s -> %s\n", forged[i].from, forged[i].to);
        save(model);
        replace(forged[i].file, forged[i].from, forged[i].to);
        expect_refused(forged[i].part);
    }
    model_free(model);
}

static void case_forged_files(void)
{
    /* Replacements in the header keep its length, so that what is told is the thing itself. */
    static const struct forgery forged[] = {
        {"model.json", "\"format\": 1", "\"format\": 2", "format 2"},
        {"model.json", "\"lru\"", "\"gru\"", "block.0.gru.in.weight is missing"},
        {"model.json", "\"lru\"", "\"rnn\"", "encoder \"rnn\" is unknown"},
        {"model.json", "\"H\"", "\"heads\": 2, \"H\"", "belong to attention"},
        {"model.json", "\"D\": 16", "\"D\": 17", "multiple of 16"},
        {"model.json", "\"D\": 16", "\"D\": 32", "model.safetensors"},
        {"model.json", "\"D\": 16", "\"D\": -16", "\"D\""},
        {"model.json", "\"D\": 16", "\"D\": 1e9", "\"D\""},
        {"model.json", "\"N\": 5", "\"N\": 99999999", "items.json"},
        {"model.json", "\"N\": 5", "\"N\": 4", "items.json"},
        {"model.json", "\"L\": 2", "\"L\": 3", "model.safetensors"},
        {"model.json", "\"L\": 2", "\"L\": 99", "L must be"},
        {"model.json", "{", "[", "model.json"},
        {"model.json", "\"tenant\"", "\"tenent\"", "tenant"},
        {"model.json", "\"id\": \"", "\"id\": \"0", "two models"},
        {"items.json", "\"plain\"", "\" \"", "same id"},
        {"items.json", "\"plain\"", "\"\"", "1 to 256 bytes"},
        {"items.json", "\"plain\"", "17", "no text"},
        {"items.json", "\"plain\"", "\"\xFF\"", "items.json"},
        {"items.json", "\"plain\"", "\"plane\"", "two models"},
        {"model.safetensors", "item.bias", "item.bios", "item.bias is missing"},
        {"model.safetensors", "\"F32\"", "\"F16\"", "dtype"},
        {"model.safetensors", "[5,16]", "[5,17]", "fit its shape"},
        {"model.safetensors", "[5,16]", "[16,5]", "not the shape"},
        {"model.safetensors", "[5,16]", "[0,16]", "shape"},
        {"model.safetensors", "[5,16]", "\"5,16\"", "model.safetensors"},
        {"model.safetensors", "[0,320]", "[4,324]", "overlaps"},
        {"model.safetensors", "[0,320]", "[320,0]", "data_offsets"},
        {"model.safetensors", "[0,320]", "[0,32]   ", "model.safetensors"},
    };
    expect_forgeries_refused(small_model(), forged, sizeof forged / sizeof *forged);
}

static void case_forged_content(void)
{
    static const struct forgery forged[] = {
        {"model.json", "\"n_content\": 2", "\"n_content\": 1", "content.json"},
        {"model.json", "\"n_content\": 2", "\"n_content\": 0", "3"},
        {"model.json", "\"n_content\": 2", "\"n_content\": 99999999", "n_content must be"},
        {"model.json", "\"n_content\": 2", "\"n_content\": 9999999", "content.json"},
        {"content.json", "category:a", "category:b", "damaged"},
        {"content.json", "\"category:a\"", "7", "no text"},
        {"content.json", "category:a", "", "1 to 96 bytes"},
        {"content.json", "[1,0]", "[1,2]", "feature 2 of 2"},
        {"content.json", "[1,0]", "[1,-1]", "feature -1 of 2"},
        {"content.json", "[1,0]", "[1,1.5]", "feature -1 of 2"},
        {"content.json", "[1,0]", "[1,4294967296]", "feature -1 of 2"},
        {"content.json", "[1,0]", "[1,1]", "twice"},
        {"content.json", "[1,0]", "[0]", "damaged"},
        {"content.json", "[1,0],", "", "5 arrays"},
        {"content.json", "\"items\"", "\"i\"", "damaged"},
        {"model.safetensors", "content.embedding", "contend.embedding", "content.embedding"},
    };
    expect_forgeries_refused(full_model(), forged, sizeof forged / sizeof *forged);
}

static void case_bad_numbers(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 2e12f};
    struct model *model = small_model();
    for (size_t i = 0; i < 4; i++) {
        size_t len;
        save(model);
        char *bytes = slurp("model.safetensors", &len);
        memcpy(bytes + len - 4, &bad[i], 4); /* the last element of the last tensor */
        write_file("model.safetensors", bytes, len);
        expect_refused("block.1.ffn.norm.bias");
        mem_free(bytes);
    }
    model_free(model);
}

static void case_header_lengths(void)
{
    struct model *model = small_model();
    static const uint64_t lengths[] = {0, 1, 1 << 21, UINT64_MAX, UINT64_MAX - 7, 1u << 31};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len;
        save(model);
        char *bytes = slurp("model.safetensors", &len);
        memcpy(bytes, &lengths[i], 8);
        write_file("model.safetensors", bytes, len);
        expect_refused("model.safetensors");
        mem_free(bytes);
    }
    model_free(model);
}

/* A model made elsewhere has no id. */
static void case_id_may_be_missing(void)
{
    struct model *model = small_model(), *loaded;
    struct err err = ERR_INIT;
    save(model);
    replace("model.json", "\"id\"", "\"made_by\"");
    CHECK_OK(model_load(&loaded, folder, &err), err);
    CHECK_HEX(model_info(loaded).id, model_info(model).id);
    model_free(loaded);
    model_free(model);
}

static void remove_folder(void)
{
    char path[256];
    for (size_t f = 0; f < FILES; f++) {
        path_of(files[f], path);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

int main(void)
{
    CHECK(mkdtemp(folder) != NULL);
    CHECK_INT(atexit(remove_folder), 0);
    CASE(case_round_trip);
    CASE(case_content);
    CASE(case_version);
    CASE(case_known_id);
    CASE(case_missing_files);
    CASE(case_every_truncation_is_refused);
    CASE(case_flipped_bits);
    CASE(case_forged_files);
    CASE(case_forged_content);
    CASE(case_bad_numbers);
    CASE(case_header_lengths);
    CASE(case_id_may_be_missing);
    return 0;
}
