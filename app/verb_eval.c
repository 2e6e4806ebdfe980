/* freshet eval: how good a model's lists are on a log file, beside popularity. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/train_input.h"
#include "base/buf.h"
#include "base/progress.h"
#include "train/train.h"

enum { PROMILLE = 1000, JSON_MAX = 1 << 16 };

static const char group_log[] = "Log", group_protocol[] = "Protocol";

/* The three arms of a result, as they are printed. */
enum arm { ARM_OF_ENCODER, ARM_OF_POPULARITY, ARM_OF_RECENT, ARMS };
static const char *const arm_names[ARMS] = {"encoder", "popularity", "popularity_recent"};

static const struct eval_metrics *arm_metrics(const struct eval_result *result, enum arm arm)
{
    return arm == ARM_OF_ENCODER      ? &result->encoder
           : arm == ARM_OF_POPULARITY ? &result->popular
                                      : &result->popular_recent;
}

/* With leave-one-out the targets are spread over all times: what is popular lately is no baseline there. */
static int arm_count(const struct eval_options *options)
{
    return options->split.protocol == TRAIN_LEAVE_ONE_OUT ? ARM_OF_RECENT : ARMS;
}

/* "1,5,10,20" as ascending numbers. */
static bool read_k(const struct options *flags, struct eval_options *options, struct err *err)
{
    const char *const *texts;
    int n = options_list(flags, "k", &texts);
    if (n < 1 || n > EVAL_K_MAX)
        return err_fatal(err, ERR_EXIT_USAGE, "--k: 1 to %d numbers are expected", EVAL_K_MAX);
    for (int i = 0; i < n; i++) {
        char *end;
        long k = strtol(texts[i], &end, 10);
        long least = i > 0 ? options->k[i - 1] + 1 : 1;
        if (*end != '\0' || k < least || k > MODEL_MAX_K)
            return err_fatal(
                err, ERR_EXIT_USAGE,
                "--k: \"%s\"; ascending numbers from 1 to %d are expected, such as 1,5,10,20",
                texts[i], (int)MODEL_MAX_K);
        options->k[i] = (int)k;
    }
    options->n_k = n;
    return true;
}

static bool read_options(const struct options *flags, struct eval_options *o, struct err *err)
{
    o->split.share = options_number(flags, "split-time");
    o->split.protocol =
        options_enum(flags, "protocol") == 1 ? TRAIN_LEAVE_ONE_OUT : TRAIN_NEXT_ITEM;
    bool has_test = options_is_set(flags, "test");
    bool is_last = o->split.protocol == TRAIN_LEAVE_ONE_OUT;
    if (is_last && (has_test || options_is_set(flags, "split-time")))
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--protocol leave-one-out takes neither --split-time nor --test");
    if (has_test) {
        o->split.protocol = TRAIN_ALL;
    } else if (!is_last && o->split.share >= 1) {
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "--protocol next-item needs --split-time (such as 0.7, as in train) or --test FILE");
    }
    o->mask = (enum eval_mask)options_enum(flags, "mask");
    o->window = (int)options_int(flags, "window");
    o->half_life_ms = (int64_t)(options_number(flags, "half-life-days") * 86400000.0);
    return read_k(flags, o, err) && train_input_types(flags, "targets", &o->targets, err);
}

/* ---- output ---- */

static void print_table(const struct eval_options *o, const struct eval_result *r)
{
    (void)fprintf(stderr,
                  "%llu targets; %llu of items that the model does not know, %llu of users "
                  "without a known item; %llu first events not predicted\n\n",
                  (unsigned long long)r->targets, (unsigned long long)r->unseen,
                  (unsigned long long)r->cold, (unsigned long long)r->first);
    (void)fprintf(stderr, "%-18s %5s %8s %8s %8s %9s\n", "", "k", "HR", "NDCG", "MRR", "coverage");
    for (int arm = 0; arm < arm_count(o); arm++) {
        const struct eval_metrics *m = arm_metrics(r, (enum arm)arm);
        for (int i = 0; i < o->n_k; i++)
            (void)fprintf(stderr, "%-18s %5d %8.4f %8.4f %8.4f %9.4f\n", i ? "" : arm_names[arm],
                          o->k[i], m->hr[i], m->ndcg[i], m->mrr[i], m->coverage[i]);
    }
}

static void push_metric(struct buf *out, const struct eval_options *o, const char *name,
                        const double *values)
{
    for (int i = 0; i < o->n_k; i++)
        buf_push_format(out, "\"%s@%d\":%.6f,", name, o->k[i], values[i]);
}

/* One JSON object, the last line of stdout. */
static void print_json(const struct options *flags, const struct eval_options *o,
                       const struct eval_result *r, const struct model *model)
{
    static const char *const masks[] = {"none", "current", "window", "history"};
    struct buf out;
    buf_init(&out, JSON_MAX);
    buf_push_format(&out,
                    "{\"protocol\":\"%s\",\"mask\":\"%s\",\"model_id\":\"%016llx\",\"items\":%d,",
                    o->split.protocol == TRAIN_LEAVE_ONE_OUT ? "leave-one-out" : "next-item",
                    masks[o->mask], (unsigned long long)model_info(model).id, model_info(model).N);
    if (o->split.protocol == TRAIN_NEXT_ITEM)
        buf_push_format(&out, "\"split_time\":%g,", options_number(flags, "split-time"));
    buf_push_format(&out, "\"targets\":%llu,\"unseen\":%llu,\"cold\":%llu,\"first\":%llu",
                    (unsigned long long)r->targets, (unsigned long long)r->unseen,
                    (unsigned long long)r->cold, (unsigned long long)r->first);
    for (int arm = 0; arm < arm_count(o); arm++) {
        const struct eval_metrics *m = arm_metrics(r, (enum arm)arm);
        buf_push_format(&out, ",\"%s\":{", arm_names[arm]);
        push_metric(&out, o, "hr", m->hr);
        push_metric(&out, o, "ndcg", m->ndcg);
        push_metric(&out, o, "mrr", m->mrr);
        push_metric(&out, o, "coverage", m->coverage);
        out.len--; /* the last comma */
        buf_push_text(&out, "}");
    }
    printf("%.*s}\n", (int)out.len, (const char *)out.data);
    buf_fini(&out);
}

static void show(void *context, double share)
{
    progress_update(context, (uint64_t)(share * PROMILLE), NULL);
}

static bool evaluate(const struct options *flags, const struct model *model,
                     const struct train_data *data, const struct train_data *history,
                     struct eval_options *options, struct err *err)
{
    bool quiet = options_bool(flags, "quiet");
    struct progress_options bar = {
        .what = "eval", .unit = "", .total = PROMILLE, .quiet = quiet, .fd = 2};
    struct progress *progress = progress_new(&bar);
    struct eval_result result;
    options->progress = show;
    options->context = progress;
    bool ok = eval_run(model, data, history, options, &result, err);
    progress_end(progress);
    if (ok && !quiet) print_table(options, &result);
    if (ok) print_json(flags, options, &result, model);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    const struct options *flags = app->flags;
    struct eval_options options = {0};
    struct model *model = NULL;
    struct train_data *log = NULL, *test = NULL;
    bool ok = read_options(flags, &options, err) &&
              model_load(&model, options_text(flags, "model"), err) &&
              train_input_read(flags, "input", &log, err);
    if (ok && options.split.protocol == TRAIN_ALL) ok = train_input_read(flags, "test", &test, err);
    if (ok) ok = evaluate(flags, model, test ? test : log, log, &options, err);
    train_data_free(log);
    train_data_free(test);
    model_free(model);
    return ok;
}

static const struct option_spec flags[] = {
    /* clang-format off */
    {"model", OPTION_TEXT, NULL, 0, 0, "", NULL, "The model folder.", group_log},
    TRAIN_INPUT_FLAGS(group_log),
    {"test", OPTION_LIST, "", 0, 0, "", NULL,
     "Another log, whose every event but the first of each user is predicted; --input is then only counted for popularity.",
     group_log},
    {"protocol", OPTION_ENUM, "next-item", 0, 0, "", "next-item|leave-one-out",
     "next-item: every event after --split-time, from all before it; leave-one-out: each user's last event.", group_protocol},
    {"split-time", OPTION_NUMBER, "1", 0.01, 1, "", NULL,
     "The share of the log's time that the model was trained on.", group_protocol},
    {"mask", OPTION_ENUM, "none", 0, 0, "", "none|current|window|history",
     "What may not stand in a list: the newest item, those of the window, all that the user ever met. Published numbers "
     "differ in it.", group_protocol},
    {"targets", OPTION_LIST, "", 0, 0, "", NULL, "Event types that are predicted (view,purchase); default: all.", group_protocol},
    {"k", OPTION_LIST, "1,5,10,20", 0, 0, "", NULL, "List lengths.", group_protocol},
    {"window", OPTION_INT, "200", 2, 100000, "events", NULL,
     "session.window: when it is full the older half is forgotten, as in the pipeline; leave-one-out takes the newest so many.",
     group_protocol},
    {"half-life-days", OPTION_NUMBER, "7", 0.001, 100000, "days", NULL, "Of popularity_recent.", group_protocol},
    /* clang-format on */
};

const struct verb verb_eval = {
    .name = "eval",
    .summary = "measure a model on a log file",
    .usage = "freshet eval --model FOLDER --input FILE --format sessions --split-time 0.7",
    .help = "Predicts events from those before them with the functions that the pipeline uses, and "
            "prints HR, NDCG, MRR and "
            "coverage of the encoder, of popularity (counts of the training part) and of "
            "popularity_recent (counts that halve "
            "every --half-life-days, up to the event before). A table goes to stderr; the last "
            "line of stdout is one JSON object.\n"
            "\n"
            "hr@k: share of targets within the first k. ndcg@k: mean of 1/log2(rank+1). mrr@k: "
            "mean of 1/rank; both 0 beyond k. "
            "coverage@k: distinct items in all lists / items of the model. Items that the model "
            "does not know and users without "
            "a known item count as misses.\n",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .run = run,
};
