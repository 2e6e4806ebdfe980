/* freshet eval: how good a model's lists are on a log file, beside baselines. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/arm_flags.h"
#include "app/eval_orders.h"
#include "app/eval_report.h"
#include "app/train_input.h"
#include "base/progress.h"
#include "train/train.h"

enum { PROMILLE = 1000 };

static const char group_log[] = "Log", group_protocol[] = "Protocol", group_arms[] = "Arms",
                  group_baskets[] = "Baskets", group_report[] = "Report";

/* What a protocol predicts and masks; --mask and --min-events, given, win. Baskets have flags of their own (eval_orders.h). */
struct preset {
    enum train_protocol protocol; /* TRAIN_ALL: wants --test */
    enum eval_mask mask;
    int min_events;
    bool is_live; /* neighbours learn the events that were predicted */
    bool is_frozen;
};

enum { NEXT_ITEM, TIME_SPLIT, LEAVE_ONE_OUT, LRUREC, SASREC, SERENADE, SESSION_REC, BASKETS };

static const char *const protocol_names[] = {"next-item", "time-split", "leave-one-out", "lrurec",
                                             "sasrec",    "serenade",   "session-rec",   "baskets"};

static const struct preset presets[] = {
    [NEXT_ITEM] = {.protocol = TRAIN_NEXT_ITEM, .min_events = 2, .is_live = true},
    [TIME_SPLIT] = {.protocol = TRAIN_NEXT_ITEM, .min_events = 2, .is_frozen = true},
    [LEAVE_ONE_OUT] = {.protocol = TRAIN_LEAVE_ONE_OUT, .min_events = 2},
    [LRUREC] = {.protocol = TRAIN_LEAVE_ONE_OUT, .mask = EVAL_MASK_WINDOW, .min_events = 3},
    [SASREC] = {.protocol = TRAIN_LEAVE_ONE_OUT, .mask = EVAL_MASK_HISTORY, .min_events = 3},
    [SERENADE] = {.protocol = TRAIN_ALL, .mask = EVAL_MASK_CURRENT, .min_events = 2},
    [SESSION_REC] = {.protocol = TRAIN_ALL, .min_events = 2},
};

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

/* Which events, from the protocol and the flags that belong to it. */
static bool read_split(const struct options *flags, struct eval_options *o, struct err *err)
{
    int protocol = options_enum(flags, "protocol");
    bool has_test = options_is_set(flags, "test"), has_split = options_is_set(flags, "split-time");
    o->split.share = options_number(flags, "split-time");
    o->split.protocol = presets[protocol].protocol;
    o->is_frozen = presets[protocol].is_frozen;
    if (o->split.protocol == TRAIN_LEAVE_ONE_OUT && (has_test || has_split))
        return err_fatal(err, ERR_EXIT_USAGE, "--protocol %s takes neither --split-time nor --test",
                         protocol_names[protocol]);
    if (o->is_frozen && has_test)
        return err_fatal(err, ERR_EXIT_USAGE, "--protocol time-split splits one log: no --test");
    if (o->split.protocol == TRAIN_ALL && !has_test)
        return err_fatal(err, ERR_EXIT_USAGE, "--protocol %s needs --test FILE",
                         protocol_names[protocol]);
    if (o->split.protocol == TRAIN_NEXT_ITEM && !has_test && o->split.share >= 1)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--protocol %s needs --split-time (such as 0.7, as in train)%s",
                         protocol_names[protocol], o->is_frozen ? "" : " or --test FILE");
    if (has_test) o->split.protocol = TRAIN_ALL;
    return true;
}

/* The place of a name among n; -1: it is none of them. */
static int name_find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

/* The flag's names, of which known (n) has all, as a bit set; 0 when none is named. */
static bool read_set(const struct options *flags, const char *flag, const char *const *known, int n,
                     uint32_t *set, struct err *err)
{
    const char *const *names;
    int count = options_list(flags, flag, &names);
    *set = 0;
    for (int i = 0; i < count; i++) {
        int at = name_find(known, n, names[i]);
        if (at < 0)
            return err_fatal(err, ERR_EXIT_USAGE, "--%s: there is no \"%s\"; see --help", flag,
                             names[i]);
        *set |= 1u << at;
    }
    return true;
}

static bool read_resamples(const struct options *flags, struct eval_options *o, struct err *err)
{
    const char *against = options_text(flags, "against");
    o->resamples = (int)options_int(flags, "resamples");
    o->seed = (uint64_t)options_int(flags, "seed");
    o->against = *against ? name_find(eval_arm_names, EVAL_ARMS, against) : -1;
    if (*against && o->against < 0)
        return err_fatal(err, ERR_EXIT_USAGE, "--against: there is no \"%s\"; see --help", against);
    if (*against && o->resamples == 0)
        return err_fatal(err, ERR_EXIT_USAGE, "--against needs --resamples");
    return true;
}

/* The weights of the blend; popularity is that of the protocol. */
static bool read_blend(const struct options *flags, struct eval_options *o, struct err *err)
{
    bool is_last = o->split.protocol == TRAIN_LEAVE_ONE_OUT;
    struct blend_weights weights;
    o->fusion = options_bool(flags, "fusion");
    if (!arm_flags_blend(flags, &weights, err)) return false;
    o->blend[EVAL_ENCODER] = weights.encoder;
    o->blend[EVAL_NEIGHBOURS] = weights.neighbours;
    o->blend[EVAL_RELATED] = is_last ? 0 : weights.related;
    o->blend[EVAL_TRENDING] = is_last ? 0 : weights.trending;
    o->blend[is_last ? EVAL_POPULAR : EVAL_RECENT] = weights.popularity;
    return true;
}

static bool read_options(const struct options *flags, struct eval_options *o, struct err *err)
{
    const struct preset *preset = &presets[options_enum(flags, "protocol")];
    if (!read_split(flags, o, err)) return false;
    o->mask =
        options_is_set(flags, "mask") ? (enum eval_mask)options_enum(flags, "mask") : preset->mask;
    o->min_events = options_is_set(flags, "min-events") ? (int)options_int(flags, "min-events")
                                                        : preset->min_events;
    o->neighbours_live =
        options_is_set(flags, "learn") ? options_bool(flags, "learn") : preset->is_live;
    o->window = (int)options_int(flags, "window");
    o->half_life_ms = (int64_t)(options_number(flags, "half-life-days") * 86400000.0);
    return read_k(flags, o, err) && read_resamples(flags, o, err) &&
           read_set(flags, "arms", eval_arm_names, EVAL_ARMS, &o->arms, err) &&
           train_input_types(flags, "targets", &o->targets, err);
}

static void show(void *context, double share)
{
    progress_update(context, (uint64_t)(share * PROMILLE), NULL);
}

static bool evaluate(const struct options *flags, const struct model *model,
                     const struct train_data *data, const struct train_data *history,
                     struct eval_options *options, uint32_t by, struct err *err)
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
    struct eval_report report = {.preset = protocol_names[options_enum(flags, "protocol")],
                                 .options = options,
                                 .result = &result,
                                 .model = model,
                                 .by = by};
    if (ok && !quiet) eval_report_table(&report);
    if (ok) eval_report_json(&report);
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    const struct options *flags = app->flags;
    struct model_neighbours_options neighbours;
    struct model_related_rules related;
    struct eval_options options = {.neighbours = &neighbours, .related = &related};
    struct model *model = NULL;
    uint32_t by;
    struct train_data *log = NULL, *test = NULL;
    const char *folder = options_text(flags, "model");
    if (options_enum(flags, "protocol") == BASKETS)
        return read_k(flags, &options, err) && eval_orders_run(flags, options.k, options.n_k, err);
    bool ok = read_options(flags, &options, err) &&
              arm_flags_neighbours(flags, &neighbours, &options.session_gap_ms, err) &&
              arm_flags_related(flags, &related, err) && read_blend(flags, &options, err) &&
              read_set(flags, "by", eval_by_names, EVAL_BYS, &by, err) &&
              (*folder == '\0' || model_load(&model, folder, err)) &&
              train_input_read(flags, "input", &log, err);
    if (ok && options.split.protocol == TRAIN_ALL) ok = train_input_read(flags, "test", &test, err);
    if (ok) ok = evaluate(flags, model, test ? test : log, log, &options, by, err);
    train_data_free(log);
    train_data_free(test);
    model_free(model);
    return ok;
}

static const struct option_spec flags[] = {
    /* clang-format off */
    {"model", OPTION_TEXT, "", 0, 0, "", NULL, "The model folder; without one the baselines run alone.", group_log},
    TRAIN_INPUT_FLAGS(group_log),
    {"test", OPTION_LIST, "", 0, 0, "", NULL,
     "Another log, whose every event but the first of each user is predicted; --input is then only counted for the baselines.",
     group_log},
    {"protocol", OPTION_ENUM, "next-item", 0, 0, "", "next-item|time-split|leave-one-out|lrurec|sasrec|serenade|session-rec|baskets",
     "next-item: every event after --split-time, from all before it; time-split: of each user the first event after it, from "
     "what was known at that time; leave-one-out: each user's last event; baskets: what goes with an item of an order, with "
     "--map user= the order's id. The others are "
     "published protocols, see above; --mask and --min-events change them.", group_protocol},
    {"split-time", OPTION_NUMBER, "1", 0.01, 1, "", NULL,
     "The share of the log's time that the model was trained on.", group_protocol},
    {"mask", OPTION_ENUM, "none", 0, 0, "", "none|current|window|history",
     "What may not stand in a list: the newest item, those of the window, all that the user ever met. Published numbers "
     "differ in it. Default: the protocol's.", group_protocol},
    {"min-events", OPTION_INT, "2", 2, 1000000, "events", NULL,
     "leave-one-out: users with fewer are not predicted. lrurec and sasrec take 3.", group_protocol},
    {"targets", OPTION_LIST, "", 0, 0, "", NULL, "Event types that are predicted (view,purchase); default: all.", group_protocol},
    {"k", OPTION_LIST, "1,5,10,20", 0, 0, "", NULL, "List lengths.", group_protocol},
    {"window", OPTION_INT, "200", 2, 100000, "events", NULL,
     "session.window: when it is full the older half is forgotten, as in the pipeline; leave-one-out takes the newest so many.",
     group_protocol},
    {"arms", OPTION_LIST, "", 0, 0, "", NULL,
     "Which are asked: encoder, popularity, popularity_recent, neighbours, markov, related, trending, blend. Default: all that the protocol has use for.",
     group_arms},
    ARM_FLAGS(group_arms),
    EVAL_ORDERS_FLAGS(group_baskets),
    {"fusion", OPTION_BOOL, "false", 0, 0, "", NULL,
     "Blend by rank fusion even when the model has a ranker, to compare them.", group_arms},
    {"learn", OPTION_BOOL, "true", 0, 0, "", NULL,
     "Neighbours learn each event once it was predicted, as the pipeline does; false: their index holds the training part alone. "
     "Default: true for next-item; false for the others, as published.", group_arms},
    {"by", OPTION_LIST, "", 0, 0, "", NULL,
     "Metrics of parts of the targets as well: length (events of the user before), popularity (head, mid, tail, unseen: of the "
     "items that hold the first half, the next 30 % and the rest of the training part's events), type (of the event).", group_report},
    {"resamples", OPTION_INT, "1000", 0, 100000, "", NULL,
     "Resamples of users for the 95 % intervals of HR, NDCG and MRR; 0: none.", group_report},
    {"against", OPTION_TEXT, "", 0, 0, "", NULL,
     "An arm: intervals of the other arms' differences from it, over the same resamples.", group_report},
    {"seed", OPTION_INT, "1", 0, 9e15, "", NULL, "Of the resamples.", group_report},
    {"half-life-days", OPTION_NUMBER, "7", 0.001, 100000, "days", NULL, "Of popularity_recent.", group_arms},
    /* clang-format on */
};

const struct verb verb_eval = {
    .name = "eval",
    .summary = "measure a model on a log file",
    .usage = "freshet eval [--model FOLDER] --input FILE --format sessions --split-time 0.7",
    .help =
        "Predicts events from those before them with the functions that the pipeline uses, beside "
        "baselines: popularity (counts of the training part), popularity_recent (counts that halve "
        "every --half-life-days, up to the event before), neighbours (sessions with the same "
        "items; a "
        "session is a user's history) and markov (what followed the newest item "
        "most often in the training part, filled up by popularity). A table goes to stderr; the "
        "last line of stdout is one JSON object.\n"
        "\n"
        "Protocols that published numbers were measured by:\n"
        "  lrurec       leave-one-out, the items of the window masked (--window 200, Beauty 50)\n"
        "  sasrec       leave-one-out, all items of the user masked; both: users of 3 events and "
        "more\n"
        "  serenade     every next click of --test, the current item masked\n"
        "  session-rec  every next click of --test, nothing masked\n"
        "\n"
        "Baskets: bought_together (as the pipeline counts and scores it), raw_counts (every pair "
        "of every order, no decay) and "
        "popularity (--half-life-days), each order predicted from those before it; hr@k: share of "
        "an order's other items within the "
        "first k, any@k: share of lists with one of them. head, mid and tail: of the targets' "
        "items that hold the first half, the "
        "next 30 % and the rest of what was bought before.\n"
        "\n"
        "hr@k: share of targets within the first k (recall@k is the same with one target). ndcg@k: "
        "mean of 1/log2(rank+1). mrr@k: mean of 1/rank; both 0 beyond k. precision@k: hr/k. f1@k: "
        "2 hr/(k+1). Of all lists: coverage@k: distinct items / items of the model (without one: "
        "of "
        "the training part). gini@k: 0 when all items are listed equally often, 1 when only one "
        "is. "
        "novelty@k: mean of -log2(share of users that met the item). popularity@k: mean count of "
        "the items. Items that the model does not know and users without a known item count as "
        "misses. tail@k: share of places with items of the least popular tenth. diversity@k: mean "
        "over pairs of 1 - cosine of the "
        "model's item vectors (without a model: of the sets of users that met them). "
        "serendipity@k: mean of max(0, popular rank - "
        "rank) / (N k) of targets in the list. Intervals are of resampled users.\n",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .run = run,
};
