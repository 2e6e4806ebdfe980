/* The options of session neighbours, named in one flag. */
#include "app/neighbours_flag.h"

#include <stdio.h>
#include <string.h>

static const char group[] = "Session neighbours";

/* m, k, last, similarity, position and idf were chosen on Serenade's validation; reach between its best (0.9) and YooChoose's (2):
 * docs/QUALITY.md. */
static const struct option_spec specs[] = {
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

static bool read_named(struct options *named, const char *text, struct err *err)
{
    char name[32];
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    if (!equals || n == 0 || n >= sizeof name)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--neighbours: \"%s\"; name=value is expected, such as k=200", text);
    memcpy(name, text, n);
    name[n] = '\0';
    return options_set(named, name, equals + 1, "--neighbours", err);
}

bool neighbours_flag_read(const struct options *flags, struct model_neighbours_options *options,
                          struct err *err)
{
    struct options *named = options_new(specs, sizeof specs / sizeof specs[0]);
    const char *const *texts;
    int n = options_list(flags, "neighbours", &texts);
    bool ok = true;
    for (int i = 0; i < n && ok; i++)
        ok = read_named(named, texts[i], err);
    if (ok)
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
    return ok;
}
