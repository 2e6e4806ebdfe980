/* Options of arms, named in one flag each. */
#include "app/arm_flags.h"

#include <stdio.h>
#include <string.h>

static const char group[] = "";

/* m, k, last, similarity, position and idf were chosen on Serenade's validation; reach between its best (0.9) and YooChoose's (2):
 * docs/QUALITY.md. */
static const struct option_spec neighbours_specs[] = {
    {"m", OPTION_INT, "500", 1, 1e6, "", NULL, "", group},
    {"k", OPTION_INT, "200", 1, 1e6, "", NULL, "", group},
    {"last", OPTION_INT, "10", 1, MODEL_NEIGHBOURS_LAST_MAX, "", NULL, "", group},
    {"similarity", OPTION_ENUM, "linear", 0, 0, "", "same|linear|div|log|quadratic", "", group},
    {"position", OPTION_ENUM, "div", 0, 0, "", "same|linear|div|log|quadratic", "", group},
    {"idf", OPTION_ENUM, "plus", 0, 0, "", "none|times|plus", "", group},
    {"idf_weight", OPTION_NUMBER, "6", 0, 1e6, "", NULL, "", group},
    {"reach", OPTION_NUMBER, "1.5", 0, 1e6, "", NULL, "", group},
    {"half_life_days", OPTION_NUMBER, "0", 0, 1e6, "", NULL, "", group},
    {"items", OPTION_INT, "200", 1, 1e6, "", NULL, "", group},
    {"sessions", OPTION_INT, "0", 0, 1e9, "", NULL, "", group},
    {"clicks", OPTION_INT, "0", 0, 1e9, "", NULL, "", group},
};

/* As the pipeline's blend.*.weight. */
static const struct option_spec blend_specs[] = {
    {"encoder", OPTION_NUMBER, "1", 0, 1000, "", NULL, "", group},
    {"popularity", OPTION_NUMBER, "0.03", 0, 1000, "", NULL, "", group},
    {"neighbours", OPTION_NUMBER, "1", 0, 1000, "", NULL, "", group},
};

/* Sets one option from "name=value". */
static bool set_named(struct options *named, const char *flag, const char *text, struct err *err)
{
    char name[32], origin[32];
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    if (n == 0 || n >= sizeof name)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--%s: \"%s\"; name=value, or several with commas, is expected", flag,
                         text);
    memcpy(name, text, n);
    name[n] = '\0';
    (void)snprintf(origin, sizeof origin, "--%s", flag);
    return options_set(named, name, equals + 1, origin, err);
}

/* A table's defaults with what a flag changes. The caller frees them; NULL on error. */
static struct options *read_named(const struct options *flags, const char *flag,
                                  const struct option_spec *specs, size_t n_specs, struct err *err)
{
    struct options *named = options_new(specs, n_specs);
    const char *const *texts;
    int n = options_list(flags, flag, &texts);
    for (int i = 0; i < n; i++) {
        if (set_named(named, flag, texts[i], err)) continue;
        options_free(named);
        return NULL;
    }
    return named;
}

bool arm_flags_neighbours(const struct options *flags, struct model_neighbours_options *options,
                          struct err *err)
{
    struct options *named = read_named(flags, "neighbours", neighbours_specs,
                                       sizeof neighbours_specs / sizeof neighbours_specs[0], err);
    if (!named) return false;
    *options = (struct model_neighbours_options){
        .sessions_max = (int)options_int(named, "sessions"),
        .clicks_max = (int)options_int(named, "clicks"),
        .items_max = (int)options_int(named, "items"),
        .m = (int)options_int(named, "m"),
        .k = (int)options_int(named, "k"),
        .last_n = (int)options_int(named, "last"),
        .similarity = (enum model_neighbours_decay)options_enum(named, "similarity"),
        .position = (enum model_neighbours_decay)options_enum(named, "position"),
        .idf = (enum model_neighbours_idf)options_enum(named, "idf"),
        .idf_weight = options_number(named, "idf_weight"),
        .half_life_ms = options_number(named, "half_life_days") * 86400e3,
        .reach = options_number(named, "reach"),
    };
    options_free(named);
    return true;
}

bool arm_flags_blend(const struct options *flags, struct blend_weights *weights, struct err *err)
{
    struct options *named =
        read_named(flags, "blend", blend_specs, sizeof blend_specs / sizeof blend_specs[0], err);
    if (!named) return false;
    *weights = (struct blend_weights){
        .encoder = (float)options_number(named, "encoder"),
        .popularity = (float)options_number(named, "popularity"),
        .neighbours = (float)options_number(named, "neighbours"),
    };
    options_free(named);
    return true;
}
