/* The ranker's examples, taken by the walk of an evaluation, and what comes of them.
 *
 * Whose targets: events that the encoder has not learnt from. With leave-one-out these are the validation events of the model
 * itself: each user's last but one. Else the newest share of the training part, and the encoder that proposes candidates for them
 * is another one, learnt by the same options from what lies before: in the model itself they are learnt. Index, counts and
 * popularity are those of the part before, and go on click by click as in the pipeline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "train/ranker.h"

enum {
    LISTS_LEAST = 300,  /* fewer tell too little */
    LISTS_MOST = 20000, /* more tell nothing new; they bound memory */
    NEWEST_SHARE = 10,  /* a tenth of the events */
    PATH_BYTES = 4200,
};

/* ---- lists ---- */

void train__lists_init(struct train__lists *lists, const struct model *model, int max)
{
    *lists = (struct train__lists){.model = model, .max = max};
}

void train__lists_fini(struct train__lists *lists)
{
    mem_free(lists->x);
    mem_free(lists->lists);
}

static void rows_reserve(struct train__lists *lists, size_t rows)
{
    if (lists->n == lists->cap) {
        lists->cap = lists->cap ? lists->cap * 2 : 1024;
        lists->lists = mem_realloc(lists->lists, (size_t)lists->cap * sizeof *lists->lists);
    }
    if (lists->n_rows + rows <= lists->rows_cap) return;
    lists->rows_cap = lists->rows_cap ? lists->rows_cap * 2 : 1 << 17;
    lists->x = mem_realloc(lists->x, lists->rows_cap * FEATURE_COUNT * sizeof *lists->x);
}

void train__lists_add(struct train__lists *lists, const struct model_ranking *ranking, uint64_t key,
                      int user)
{
    float features[TRAIN__CANDIDATES * MODEL_FEATURES];
    struct model_blended met[TRAIN__CANDIDATES];
    int n = model_rank_features(lists->model, ranking, met, features), target = 0;
    lists->asked++;
    while (target < n && met[target].key != key)
        target++;
    if (target == n || lists->n == lists->max) return;
    rows_reserve(lists, (size_t)n);
    for (int i = 0; i < n; i++)
        memcpy(lists->x + (lists->n_rows + (size_t)i) * FEATURE_COUNT,
               features + i * MODEL_FEATURES, FEATURE_COUNT * sizeof *features);
    lists->lists[lists->n++] =
        (struct train__ranked){.first = lists->n_rows, .n = n, .target = target, .user = user};
    lists->n_rows += (size_t)n;
}

static void listen(void *listener, const struct model_ranking *ranking, uint64_t key, int user)
{
    train__lists_add(listener, ranking, key, user);
}

/* ---- which events ---- */

/* The training part alone. Texts are borrowed; the caller frees user_start and events. */
static struct train_data part_take(const struct train_data *data, struct train_split split)
{
    struct train_data part = *data;
    part.user_start = mem_alloc(((size_t)data->n_users + 1) * sizeof *part.user_start);
    part.events = mem_alloc(data->n_events * sizeof *part.events);
    part.n_events = 0;
    part.last_ms = data->first_ms;
    for (int u = 0; u < data->n_users; u++) {
        size_t begin = data->user_start[u], end = train_split_end(data, split, u);
        part.user_start[u] = part.n_events;
        for (size_t e = begin; e < end; e++) {
            const struct train_event *event = &data->events[e];
            if (event->time_ms > part.last_ms) part.last_ms = event->time_ms;
            part.events[part.n_events++] = *event;
        }
    }
    part.user_start[data->n_users] = part.n_events;
    return part;
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Cuts off the newest events, as a share of the time: a tenth, at most twice as many as lists are taken. */
static struct train_split newest_cut(const struct train_data *part)
{
    int64_t *times = mem_alloc((part->n_events + 1) * sizeof *times);
    size_t newest = part->n_events / NEWEST_SHARE;
    if (newest > 2 * (size_t)LISTS_MOST) newest = 2 * (size_t)LISTS_MOST;
    for (size_t e = 0; e < part->n_events; e++)
        times[e] = part->events[e].time_ms;
    qsort(times, part->n_events, sizeof *times, by_value);
    int64_t cut_ms = newest > 0 ? times[part->n_events - newest] : part->last_ms;
    double span = (double)part->last_ms - (double)part->first_ms;
    mem_free(times);
    return (struct train_split){.protocol = TRAIN_NEXT_ITEM,
                                .share = span > 0 ? (double)(cut_ms - part->first_ms) / span : 1};
}

/* ---- the whole ---- */

static struct eval_options walk_options(const struct train_ranker_options *options,
                                        struct train_split split, struct train__lists *lists)
{
    bool is_last = split.protocol == TRAIN_LEAVE_ONE_OUT;
    struct eval_options walk = {.split = split,
                                .mask = options->train->mask,
                                .k = {MODEL_RANKER_DEPTH},
                                .n_k = 1,
                                .window = options->window,
                                .min_events = 3,
                                .half_life_ms = options->half_life_ms,
                                .neighbours = options->neighbours,
                                .session_gap_ms = options->session_gap_ms,
                                .related = options->related,
                                .neighbours_live = !is_last,
                                .fusion = true,
                                .listen = listen,
                                .listener = lists,
                                .against = -1,
                                .arms = 1u << EVAL_BLEND};
    walk.blend[EVAL_ENCODER] = walk.blend[EVAL_NEIGHBOURS] = 1;
    walk.blend[EVAL_RELATED] = options->has_related && !is_last;
    walk.blend[EVAL_TRENDING] = options->has_trending && !is_last;
    walk.blend[is_last ? EVAL_POPULAR : EVAL_RECENT] = 1;
    return walk;
}

/* Walks part with `past` as the encoder and learns; the ranker goes to model when it is better than rank fusion. */
static bool lists_learn(struct model *model, const struct model *past,
                        const struct train_data *part, struct train_split split,
                        const struct train_ranker_options *options,
                        struct train_ranker_result *result, struct err *err)
{
    struct train__lists lists;
    struct eval_result *ignored = mem_alloc(sizeof *ignored);
    train__lists_init(&lists, past, LISTS_MOST);
    struct eval_options walk = walk_options(options, split, &lists);
    bool ok = eval_run(past, part, part, &walk, ignored, err);
    result->asked = lists.asked;
    result->lists = lists.n;
    if (ok && lists.n < LISTS_LEAST) {
        result->why = "too few held-out events whose item an arm proposes";
    } else if (ok) {
        struct model_ranker ranker;
        train__ranker_learn(&lists, options->train->seed, &ranker, result);
        result->is_learnt = result->ranked > result->fusion;
        if (result->is_learnt) model_set_ranker(model, &ranker);
        result->why = result->is_learnt ? "" : "it orders held-out lists no better";
    }
    train__lists_fini(&lists);
    mem_free(ignored);
    return ok;
}

/* The encoder of the part before the cut. */
static bool past_learn(const struct train_data *part, struct train_split split,
                       const struct train_ranker_options *options,
                       bool (*progress)(void *context, const struct train_progress *progress),
                       void *context, struct model **past, struct err *err)
{
    struct train_options train = *options->train;
    struct train_result ignored;
    char checkpoint[PATH_BYTES];
    train.split = split;
    if (train.checkpoint) {
        (void)snprintf(checkpoint, sizeof checkpoint, "%s.past", train.checkpoint);
        train.checkpoint = checkpoint;
    }
    bool ok = train_model(part, &train, progress, context, past, &ignored, err);
    if (ok && train.checkpoint) (void)unlink(checkpoint);
    return ok;
}

bool train_ranker(struct model *model, const struct train_data *data,
                  const struct train_ranker_options *options,
                  bool (*progress)(void *context, const struct train_progress *progress),
                  void *context, struct train_ranker_result *result, struct err *err)
{
    const struct train_options *train = options->train;
    bool is_last = train->split.protocol == TRAIN_LEAVE_ONE_OUT, ok = true;
    *result = (struct train_ranker_result){.why = ""};
    model_set_ranker(model, NULL);
    if (is_last && train->validation >= 0) {
        result->why = "--validation holds out other events than each user's last";
        return true;
    }
    struct train_data part = part_take(data, train->split);
    struct train_split split = is_last ? train->split : newest_cut(&part);
    struct model *past = NULL;
    if (part.n_events / NEWEST_SHARE < LISTS_LEAST && !is_last) {
        result->why = "too few events";
    } else if (is_last) {
        ok = lists_learn(model, model, &part, split, options, result, err);
    } else {
        ok = past_learn(&part, split, options, progress, context, &past, err) &&
             lists_learn(model, past, &part, split, options, result, err);
    }
    if (!ok && err->class == ERR_FATAL && err->exit_code == ERR_EXIT_USAGE) {
        err->class = ERR_NONE; /* the log was good enough for a model, not for a ranker */
        result->why = "the older events teach nothing, or the newest ask nothing";
        ok = true;
    }
    model_free(past);
    mem_free(part.user_start);
    mem_free(part.events);
    return ok;
}
