/* Reading the log that the flags of train and eval name. */
#include "app/train_input.h"

#include <stdio.h>

#include "base/progress.h"
#include "schemas/schemas.h"

enum { PROMILLE = 1000 };

static void show_reading(void *context, double share)
{
    progress_update(context, (uint64_t)(share * PROMILLE), NULL);
}

bool train_input_types(const struct options *flags, const char *which, uint32_t *types,
                       struct err *err)
{
    const char *const *names;
    int n = options_list(flags, which, &names);
    *types = 0;
    for (int i = 0; i < n; i++) {
        enum event_type type;
        if (!schemas_event_type_parse(str_of(names[i]), &type))
            return err_fatal(err, ERR_EXIT_USAGE, "--%s: \"%s\" is no event type", which, names[i]);
        *types |= 1u << type;
    }
    return true;
}

static void print_read(const struct train_data *data)
{
    (void)fprintf(stderr, "read  %llu rows: %zu interactions of %d users with %d items",
                  (unsigned long long)data->rows, data->n_events, data->n_users, data->n_items);
    if (data->skipped > 0)
        (void)fprintf(stderr, "; %llu rows are no interaction", (unsigned long long)data->skipped);
    if (data->bad > 0)
        (void)fprintf(stderr, "; %llu bad rows, the first: %s", (unsigned long long)data->bad,
                      data->first_bad);
    (void)fputc('\n', stderr);
}

bool train_input_read(const struct options *flags, const char *which, struct train_data **data,
                      struct err *err)
{
    const char *format = options_text(flags, "format");
    bool quiet = options_bool(flags, "quiet");
    struct train_source source = {.map = options_text(flags, "map"), .progress = show_reading};
    source.n_paths = options_list(flags, which, &source.paths);
    source.n_skip = options_list(flags, "skip-items", &source.skip);
    if (source.n_paths == 0) return err_fatal(err, ERR_EXIT_USAGE, "--%s names no file", which);
    if (!log_format_parse(format, &source.kind))
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--format: \"%s\" is none of pairs, lines, sessions, events", format);
    if (!train_input_types(flags, "types", &source.types, err)) return false;
    struct progress_options bar = {
        .what = "read", .unit = "", .total = PROMILLE, .quiet = quiet, .fd = 2};
    struct progress *progress = progress_new(&bar);
    source.context = progress;
    bool ok = train_data_read(data, &source, err);
    progress_end(progress);
    if (ok && !quiet) print_read(*data);
    return ok;
}
