/* Which items and sequences are learnt, and whose last event is held out for validation. */
#include "train/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { TAIL_MAX = 50 };

struct item_count {
    uint64_t count;
    int32_t item;
};

static int by_count(const void *left, const void *right)
{
    const struct item_count *a = left, *b = right;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* Numbers the items that appear often enough in the training part. index_of (n_items) written, -1 for the others. */
static void choose_items(struct train__plan *plan, const struct train_data *data,
                         const struct train_options *options, int32_t *index_of)
{
    struct item_count *counts = mem_zalloc((size_t)data->n_items * sizeof *counts);
    for (int i = 0; i < data->n_items; i++) {
        counts[i].item = i;
        index_of[i] = -1;
    }
    for (int u = 0; u < data->n_users; u++) {
        size_t end = train_split_end(data, options->split, u);
        for (size_t e = data->user_start[u]; e < end; e++)
            counts[data->events[e].item].count++;
    }
    qsort(counts, (size_t)data->n_items, sizeof *counts, by_count);
    uint64_t least = options->min_item_count > 1 ? (uint64_t)options->min_item_count : 1;
    while (plan->N < data->n_items && counts[plan->N].count >= least)
        plan->N++;
    plan->ids = mem_zalloc((size_t)plan->N * sizeof *plan->ids);
    plan->share = mem_zalloc((size_t)plan->N * sizeof *plan->share);
    for (int i = 0; i < plan->N; i++) {
        plan->ids[i] = data->item_ids[counts[i].item];
        index_of[counts[i].item] = i;
    }
    mem_free(counts);
}

/* Copies a user's training events of known items behind the plan's events; returns where they end. */
static size_t take_user(struct train__plan *plan, const struct train_data *data, size_t first,
                        size_t end, const int32_t *index_of, size_t at)
{
    int64_t before_ms = 0;
    bool is_first = true;
    for (size_t e = first; e < end; e++) {
        struct train_event event = data->events[e];
        event.item = index_of[event.item];
        if (event.item < 0) continue;
        int64_t time_ms = event.time_ms;
        event.time_ms = is_first || !data->has_times ? 0 : time_ms - before_ms;
        before_ms = time_ms;
        is_first = false;
        plan->events[at++] = event;
    }
    return at;
}

/* Cuts [begin, end) into sequences of at most max_len inputs, from the newest backwards, so that a rest is old. */
static void cut_sequences(struct train__plan *plan, size_t begin, size_t end,
                          const struct train_options *options)
{
    size_t max_len = (size_t)options->max_len;
    while (end - begin >= 2) {
        size_t from = end - begin > max_len + 1 ? end - max_len - 1 : begin;
        size_t inputs = end - from - 1;
        plan->sequences[plan->n_sequences++] = (struct train__span){from, end, 0};
        plan->n_positions += inputs;
        if ((int)inputs > plan->longest) plan->longest = (int)inputs;
        if (options->sequences == SEQUENCES_NEWEST) return;
        end = from + 1; /* its first event is the target of the sequence before it */
    }
}

/* From how many users events are held out, of `able` who have one to spare. Without a wish: from all of them when each
 * user's last event is tested too, else from a fifth, at most 1,000 (a rank's mean is then known to some 3 %). */
static int held_out_wanted(const struct train_options *options, int able)
{
    int wanted = options->validation;
    if (wanted < 0 && options->split.protocol == TRAIN_LEAVE_ONE_OUT) wanted = able;
    if (wanted < 0) wanted = able / 5 < 1000 ? able / 5 : 1000;
    return wanted < able ? wanted : able;
}

/* Picks users with at least 3 events by chance (selection sampling: Knuth, TAOCP 2, 3.4.2, algorithm S). */
static void pick_held_out(const struct train__span *users, int n_users,
                          const struct train_options *options, bool *is_held_out)
{
    struct rng rng;
    rng_init(&rng, options->seed ^ 0x76616c6964617465u);
    int able = 0;
    for (int u = 0; u < n_users; u++)
        able += users[u].end - users[u].begin >= 3;
    int wanted = held_out_wanted(options, able);
    for (int u = 0; u < n_users; u++) {
        is_held_out[u] = false;
        if (users[u].end - users[u].begin < 3) continue;
        is_held_out[u] = rng_below(&rng, (uint64_t)able) < (uint64_t)wanted;
        able--;
        wanted -= is_held_out[u];
    }
}

/* How many of a user's newest n events are held out: a fifth, since what comes last may be of a kind of its own (a shop's
 * buyers end with a purchase); one where a published protocol says so. */
static int tail_of(const struct train_options *options, size_t n)
{
    if (options->split.protocol == TRAIN_LEAVE_ONE_OUT) return 1;
    size_t tail = n / 5, max = (size_t)(options->max_len + 1) / 2;
    if (max > TAIL_MAX) max = TAIL_MAX;
    if (tail > max) tail = max;
    return tail < 1 ? 1 : (int)tail;
}

static void count_targets(struct train__plan *plan)
{
    for (int s = 0; s < plan->n_sequences; s++) {
        for (size_t e = plan->sequences[s].begin + 1; e < plan->sequences[s].end; e++)
            plan->share[plan->events[e].item] += 1;
    }
    for (int i = 0; i < plan->N; i++)
        plan->share[i] /= (double)(plan->n_positions ? plan->n_positions : 1);
}

static bool add_content(struct train__plan *plan, const struct train_catalogue *catalogue,
                        struct err *err)
{
    train__content_init(&plan->content, catalogue, plan->ids, plan->N);
    if (catalogue == NULL || plan->content.n_known > 0) return true;
    (void)err_fatal(err, ERR_EXIT_USAGE,
                    "no item of the log is in the catalogue; the log has \"%.*s\"",
                    STR_ARG(plan->ids[0]));
    train__plan_free(plan);
    return false;
}

bool train__plan_make(struct train__plan *plan, const struct train_data *data,
                      const struct train_options *options, struct err *err)
{
    *plan = (struct train__plan){0};
    size_t n_users = (size_t)data->n_users;
    int32_t *index_of = mem_alloc((size_t)data->n_items * sizeof *index_of);
    struct train__span *users = mem_alloc(n_users * sizeof *users);
    bool *is_held_out = mem_zalloc(n_users);
    choose_items(plan, data, options, index_of);
    plan->events = mem_alloc(data->n_events * sizeof *plan->events);
    size_t at = 0;
    for (int u = 0; u < data->n_users; u++) {
        users[u] = (struct train__span){.begin = at};
        at = take_user(plan, data, data->user_start[u], train_split_end(data, options->split, u),
                       index_of, at);
        users[u].end = at;
    }
    size_t max_len = (size_t)options->max_len;
    plan->sequences = mem_alloc((n_users + data->n_events / max_len + 1) * sizeof *plan->sequences);
    plan->held_out = mem_alloc(n_users * sizeof *plan->held_out);
    pick_held_out(users, data->n_users, options, is_held_out);
    for (int u = 0; u < data->n_users; u++) {
        struct train__span span = users[u];
        if (is_held_out[u]) {
            span.tail = tail_of(options, span.end - span.begin);
            plan->held_out[plan->n_held_out++] = span;
            plan->n_held_targets += span.tail;
        }
        cut_sequences(plan, span.begin, span.end - (size_t)span.tail, options);
    }
    count_targets(plan);
    mem_free(index_of);
    mem_free(users);
    mem_free(is_held_out);
    if (plan->n_positions > 0) return add_content(plan, options->catalogue, err);
    train__plan_free(plan);
    return err_fatal(err, ERR_EXIT_USAGE,
                     "nothing to learn from: no user has two events of known items in the training "
                     "part (%zu events of %d users before the split)",
                     at, data->n_users);
}

void train__plan_free(struct train__plan *plan)
{
    train__content_fini(&plan->content);
    mem_free(plan->ids);
    mem_free(plan->share);
    mem_free(plan->events);
    mem_free(plan->sequences);
    mem_free(plan->held_out);
    *plan = (struct train__plan){0};
}
