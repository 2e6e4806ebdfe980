/* ranker.json, the file of a model folder that holds the learned ranker:
 *
 *   {"format":1, "model":"16 hex digits", "hidden":16, "features":["encoder.listed", ...],
 *    "linear":[one number a feature], "in_weight":[[hidden numbers] a feature], "in_bias":[hidden numbers],
 *    "out_weight":[hidden numbers]}
 *
 * "model" is the id of the model it was learnt with: arms of another model have other scores. Features are told by their
 * names (model_feature_names): a file may leave some out, which then weigh nothing; one that this freshet does not know is
 * an error. */
#include "model/internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1, HIDDEN = MODEL_RANKER_HIDDEN };

static const char FILE_NAME[] = "ranker.json";

/* ---- writing ---- */

static json_t *numbers_write(const float *values, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(array, json_real((double)values[i]));
    return array;
}

struct json_t *model__ranker_write(const struct model *model)
{
    const struct model_ranker *ranker = model_ranker(model);
    json_t *names = json_array(), *rows = json_array();
    char id[17];
    (void)snprintf(id, sizeof id, "%016" PRIx64, model->id);
    for (int f = 0; f < FEATURE_COUNT; f++) {
        (void)json_array_append_new(names, json_string(model_feature_names[f]));
        (void)json_array_append_new(rows, numbers_write(ranker->in_weight + f * HIDDEN, HIDDEN));
    }
    return json_pack("{si ss si so so so so so}", "format", FORMAT, "model", id, "hidden",
                     (int)HIDDEN, "features", names, "linear",
                     numbers_write(ranker->linear, FEATURE_COUNT), "in_weight", rows, "in_bias",
                     numbers_write(ranker->in_bias, HIDDEN), "out_weight",
                     numbers_write(ranker->out_weight, HIDDEN));
}

/* ---- reading ---- */

/* n numbers of an array, stride floats apart. */
static bool numbers_read(const json_t *array, const char *what, int n, float *out, struct err *err)
{
    if (!json_is_array(array) || json_array_size(array) != (size_t)n)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: \"%s\" must hold %d numbers", FILE_NAME, what,
                         n);
    for (int i = 0; i < n; i++) {
        const json_t *number = json_array_get(array, (size_t)i);
        double value = json_number_value(number);
        if (!json_is_number(number) || !(fabs(value) <= (double)MODEL__PARAM_MAX))
            return err_fatal(err, ERR_EXIT_MODEL, "%s: element %d of \"%s\" is no usable number",
                             FILE_NAME, i, what);
        out[i] = (float)value;
    }
    return true;
}

/* Which feature stands at each place of the file. */
static bool features_read(const json_t *names, int *feature, int *n, struct err *err)
{
    bool is_met[FEATURE_COUNT] = {false};
    *n = (int)json_array_size(names);
    if (!json_is_array(names) || json_array_size(names) > FEATURE_COUNT)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: \"features\" must be up to %d names", FILE_NAME,
                         (int)FEATURE_COUNT);
    for (int i = 0; i < *n; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        int f = 0;
        while (name && f < FEATURE_COUNT && strcmp(name, model_feature_names[f]) != 0)
            f++;
        if (!name || f == FEATURE_COUNT || is_met[f])
            return err_fatal(err, ERR_EXIT_MODEL,
                             "%s: feature \"%.40s\" is unknown to this freshet or named twice; "
                             "train again, or remove the file to go on with rank fusion",
                             FILE_NAME, name ? name : "");
        is_met[f] = true;
        feature[i] = f;
    }
    return true;
}

static bool int_is(const json_t *json, const char *name, int value, struct err *err)
{
    const json_t *number = json_object_get(json, name);
    if (json_is_integer(number) && json_integer_value(number) == value) return true;
    return err_fatal(err, ERR_EXIT_MODEL, "%s: \"%s\" must be %d", FILE_NAME, name, value);
}

static bool id_is(const json_t *json, const struct model *model, struct err *err)
{
    const char *id = json_string_value(json_object_get(json, "model"));
    char own[17];
    (void)snprintf(own, sizeof own, "%016" PRIx64, model->id);
    if (id && strcmp(id, own) == 0) return true;
    return err_fatal(err, ERR_EXIT_MODEL,
                     "%s was learnt with model \"%.20s\", this one is %s: train again, or remove "
                     "the file to go on with rank fusion",
                     FILE_NAME, id ? id : "", own);
}

bool model__ranker_read(struct model *model, const struct json_t *json, struct err *err)
{
    struct model_ranker ranker = {0};
    float linear[FEATURE_COUNT];
    int feature[FEATURE_COUNT], n;
    if (!int_is(json, "format", FORMAT, err) || !int_is(json, "hidden", HIDDEN, err) ||
        !id_is(json, model, err) ||
        !features_read(json_object_get(json, "features"), feature, &n, err) ||
        !numbers_read(json_object_get(json, "linear"), "linear", n, linear, err) ||
        !numbers_read(json_object_get(json, "in_bias"), "in_bias", HIDDEN, ranker.in_bias, err) ||
        !numbers_read(json_object_get(json, "out_weight"), "out_weight", HIDDEN, ranker.out_weight,
                      err))
        return false;
    const json_t *rows = json_object_get(json, "in_weight");
    if (!json_is_array(rows) || json_array_size(rows) != (size_t)n)
        return err_fatal(err, ERR_EXIT_MODEL, "%s: \"in_weight\" must hold %d rows", FILE_NAME, n);
    for (int i = 0; i < n; i++) {
        ranker.linear[feature[i]] = linear[i];
        if (!numbers_read(json_array_get(rows, (size_t)i), "in_weight", HIDDEN,
                          ranker.in_weight + feature[i] * HIDDEN, err))
            return false;
    }
    model_set_ranker(model, &ranker);
    return true;
}
