/* Options of arms, named in one flag each: keys of the configuration, so that an evaluation has the pipeline's defaults. */
#include "app/arm_flags.h"

#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/settings.h"

enum { KEY_MAX = 64 };

/* Sets one key of the configuration from "name=value". The key is before, name, behind; a name that begins with "session." is a
 * key itself. */
static bool set_named(struct options *config, const char *flag, const char *before,
                      const char *behind, const char *text, struct err *err)
{
    char key[KEY_MAX], origin[KEY_MAX];
    const char *equals = strchr(text, '=');
    int n = equals ? (int)(equals - text) : 0;
    bool is_key = strncmp(text, "session.", 8) == 0;
    if (n == 0 || (size_t)n + strlen(before) + strlen(behind) >= sizeof key)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--%s: \"%s\"; name=value, or several with commas, is expected", flag,
                         text);
    (void)snprintf(key, sizeof key, "%s%.*s%s", is_key ? "" : before, n, text,
                   is_key ? "" : behind);
    (void)snprintf(origin, sizeof origin, "--%s", flag);
    return options_set(config, key, equals + 1, origin, err);
}

/* The configuration's defaults with what a flag changes. The caller frees them; NULL on error. */
static struct options *read_named(const struct options *flags, const char *flag, const char *before,
                                  const char *behind, struct err *err)
{
    struct options *config = options_new(app_config_specs, app_config_count);
    const char *const *texts;
    int n = options_list(flags, flag, &texts);
    for (int i = 0; i < n; i++) {
        if (set_named(config, flag, before, behind, texts[i], err)) continue;
        options_free(config);
        return NULL;
    }
    return config;
}

bool arm_flags_neighbours(const struct options *flags, struct model_neighbours_options *options,
                          int64_t *gap_ms, struct err *err)
{
    struct options *config = read_named(flags, "neighbours", "neighbours.", "", err);
    const char *format = options_text(flags, "format");
    bool is_cut = strcmp(format, "sessions") == 0 || strcmp(format, "lines") == 0;
    if (!config) return false;
    *options = settings_neighbours_unbounded(config);
    *gap_ms = options_int(config, "session.gap.ms");
    if (is_cut && !options_is_set(config, "session.gap.ms")) *gap_ms = 0;
    options_free(config);
    return true;
}

bool arm_flags_related(const struct options *flags, struct model_related_rules *rules,
                       struct err *err)
{
    struct options *config = read_named(flags, "related-rules", "related.", "", err);
    if (!config) return false;
    *rules = settings_related_rules(config);
    options_free(config);
    return true;
}

struct model_related_rules arm_flags_related_default(void)
{
    struct options *config = options_new(app_config_specs, app_config_count);
    struct model_related_rules rules = settings_related_rules(config);
    options_free(config);
    return rules;
}

bool arm_flags_blend(const struct options *flags, struct blend_weights *weights, struct err *err)
{
    struct options *config = read_named(flags, "blend", "blend.", ".weight", err);
    if (!config) return false;
    *weights = (struct blend_weights){
        .encoder = (float)options_number(config, "blend.encoder.weight"),
        .popularity = (float)options_number(config, "blend.popularity.weight"),
        .neighbours = (float)options_number(config, "blend.neighbours.weight"),
        .related = (float)options_number(config, "blend.related.weight"),
        .trending = (float)options_number(config, "blend.trending.weight"),
    };
    options_free(config);
    return true;
}
