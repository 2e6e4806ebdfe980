/* Content features on disk, in a model's folder (folder.c).
 *
 *   content.json   {"features": ["name", ...], "items": [[0, 7, ...], ...]}
 *
 * features: names in the order of content.embedding's rows. items: by these numbers, what each item of items.json has; it may be
 * missing. Files come from outside: model_from_params checks the numbers. */

#include "model/internal.h"

#include <jansson.h>

#include "base/mem.h"

/* ---- reading ---- */

struct str *model__texts_read(const json_t *json, const char *file, int n, struct err *err)
{
    if (!json_is_array(json) || json_array_size(json) != (size_t)n) {
        err_fatal(err, ERR_EXIT_MODEL, "%s: an array of %d texts is expected, has %zu", file, n,
                  json_array_size(json));
        return NULL;
    }
    struct str *texts = mem_alloc((size_t)n * sizeof *texts);
    for (size_t i = 0; i < (size_t)n; i++) {
        const json_t *text = json_array_get(json, i);
        if (!json_is_string(text)) {
            err_fatal(err, ERR_EXIT_MODEL, "%s: element %zu is no text", file, i);
            mem_free(texts);
            return NULL;
        }
        texts[i] = (struct str){json_string_value(text), json_string_length(text)};
    }
    return texts;
}

/* The numbers in an array of arrays; -1 with err. */
static int64_t count_features(const json_t *items, int N, struct err *err)
{
    int64_t total = 0;
    if (!json_is_array(items) || json_array_size(items) != (size_t)N) {
        err_fatal(err, ERR_EXIT_MODEL, "\"items\" must be an array of %d arrays", N);
        return -1;
    }
    for (size_t i = 0; i < (size_t)N; i++)
        total += (int64_t)json_array_size(json_array_get(items, i));
    return total;
}

static bool take_features(const json_t *items, int N, struct model__content_file *content,
                          struct err *err)
{
    int64_t total = count_features(items, N, err);
    if (total < 0) return false;
    content->start = mem_alloc(((size_t)N + 1) * sizeof *content->start);
    content->features = mem_alloc((size_t)total * sizeof *content->features + 1);
    size_t at = 0;
    for (size_t i = 0; i < (size_t)N; i++) {
        const json_t *item = json_array_get(items, i), *number;
        size_t j;
        content->start[i] = at;
        json_array_foreach(item, j, number)
        {
            json_int_t f = json_is_integer(number) ? json_integer_value(number) : -1;
            content->features[at++] = f < 0 || f > INT32_MAX ? -1 : (int32_t)f;
        }
    }
    content->start[N] = at;
    return true;
}

bool model__content_read(const json_t *json, const struct model_config *config,
                         struct model__content_file *content, struct err *err)
{
    const json_t *items = json_object_get(json, "items");
    content->names =
        model__texts_read(json_object_get(json, "features"), "features", config->n_content, err);
    return content->names != NULL &&
           (items == NULL || take_features(items, config->N, content, err));
}

void model__content_file_free(struct model__content_file *content)
{
    mem_free(content->names);
    mem_free(content->start);
    mem_free(content->features);
}

/* ---- writing ---- */

void model__texts_write(const struct model *model, int n,
                        struct str (*text_of)(const struct model *model, int i), FILE *stream)
{
    for (int i = 0; i < n; i++) {
        struct str bytes = text_of(model, i);
        json_t *text = json_stringn(bytes.ptr, bytes.len);
        (void)fputs(i == 0 ? "[" : ",\n", stream);
        (void)json_dumpf(text, stream, JSON_ENCODE_ANY);
        json_decref(text);
    }
    (void)fputs("]", stream);
}

static void put_features(const struct model *model, FILE *stream)
{
    for (int32_t i = 0; i < model->config.N; i++) {
        const int32_t *features;
        int n = model_item_features(model, i, &features);
        (void)fputs(i == 0 ? "[[" : ",\n[", stream);
        for (int j = 0; j < n; j++)
            (void)fprintf(stream, j == 0 ? "%d" : ",%d", (int)features[j]);
        (void)fputs("]", stream);
    }
    (void)fputs("]", stream);
}

void model__content_write(const struct model *model, FILE *stream)
{
    (void)fputs("{\"features\": ", stream);
    model__texts_write(model, model->config.n_content, model_content_name, stream);
    if (model__content_knows_items(model)) {
        (void)fputs(",\n\"items\": ", stream);
        put_features(model, stream);
    }
    (void)fputs("}\n", stream);
}
