/* Evaluation: which events are predicted, and the encoder's lists for them, made by the functions that the pipeline uses. */
#include "train/train.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "schemas/schemas.h"
#include "train/eval.h"

/* ---- which events ---- */

size_t train__eval_first(const struct train_data *data, struct train_split split, int user)
{
    size_t begin = data->user_start[user], end = data->user_start[user + 1];
    if (end - begin < 2) return end;
    if (split.protocol == TRAIN_LEAVE_ONE_OUT) return end - 1;
    size_t first = split.protocol == TRAIN_NEXT_ITEM ? train_split_end(data, split, user) : begin;
    return first > begin ? first : begin + 1;
}

bool train__eval_is_target(const struct eval_options *options, const struct train_event *event)
{
    return options->targets == 0 || (options->targets >> event->type & 1u);
}

size_t train__eval_window(const struct eval_options *options, size_t window_start, size_t at)
{
    size_t size = (size_t)options->window;
    if (at - window_start < size) return window_start;
    /* Published leave-one-out protocols slide by one; the pipeline forgets half. */
    if (options->split.protocol == TRAIN_LEAVE_ONE_OUT) return at + 1 - size;
    return at - size / 2;
}

/* ---- the encoder's arm ---- */

enum { LANES = 128 };

/* A user under way. */
struct lane {
    int user;         /* -1: free */
    size_t at;        /* the next event */
    size_t end;       /* of the user's events */
    size_t first;     /* the first event that is predicted */
    size_t window;    /* where the window begins */
    bool has_known;   /* the window holds an item that the model knows */
    int64_t known_ms; /* time of the newest of them */
    float *state;
    int32_t *masked; /* ascending, no repeats */
    int n_masked, masked_room;
};

struct runner {
    const struct model *model;
    const struct train_data *data;
    const struct eval_options *options;
    struct eval_result *result;
    struct model_scratch *scratch;
    int32_t *model_item; /* (data n_items) -1 unknown to the model */
    struct lane lanes[LANES];
    int next_user;
    struct model_input *window_inputs; /* (window) */
    int32_t *list;                     /* (LANES,K) */
    float *scores;                     /* (LANES,K) */
    struct train__tally tally;
};

/* Adds an item to the lane's mask, in its place. */
static void mask_add(struct lane *lane, int32_t item)
{
    int low = 0, high = lane->n_masked;
    while (low < high) {
        int mid = (low + high) / 2;
        if (lane->masked[mid] < item) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low < lane->n_masked && lane->masked[low] == item) return;
    if (lane->n_masked == lane->masked_room) {
        lane->masked_room = lane->masked_room ? lane->masked_room * 2 : 64;
        lane->masked = mem_realloc(lane->masked, (size_t)lane->masked_room * sizeof *lane->masked);
    }
    memmove(lane->masked + low + 1, lane->masked + low,
            (size_t)(lane->n_masked - low) * sizeof *lane->masked);
    lane->masked[low] = item;
    lane->n_masked++;
}

/* The mask anew from events [from, at). */
static void mask_fill(struct runner *r, struct lane *lane, size_t from)
{
    lane->n_masked = 0;
    for (size_t e = from; e < lane->at; e++) {
        int32_t item = r->model_item[r->data->events[e].item];
        if (item >= 0) mask_add(lane, item);
    }
}

/* What stands before lane->at is seen: the mask for its list. */
static void mask_update(struct runner *r, struct lane *lane, bool is_start)
{
    switch (r->options->mask) {
    case EVAL_MASK_NONE:
        break;
    case EVAL_MASK_CURRENT:
        mask_fill(r, lane, lane->at - 1);
        break;
    case EVAL_MASK_WINDOW:
        mask_fill(r, lane, lane->window);
        break;
    case EVAL_MASK_HISTORY:
        if (is_start) {
            mask_fill(r, lane, r->data->user_start[lane->user]);
        } else {
            int32_t item = r->model_item[r->data->events[lane->at - 1].item];
            if (item >= 0) mask_add(lane, item);
        }
        break;
    }
}

/* The encoder's view of an event whose item the model knows; the lane's newest known moves to it. */
static struct model_input input_of(struct runner *r, struct lane *lane, size_t e)
{
    const struct train_event *event = &r->data->events[e];
    int64_t gap_ms = lane->has_known && r->data->has_times ? event->time_ms - lane->known_ms : 0;
    lane->has_known = true;
    lane->known_ms = event->time_ms;
    return (struct model_input){
        .item = r->model_item[event->item], .type = event->type, .gap_ms = gap_ms > 0 ? gap_ms : 0};
}

/* The state from the events of the window before lane->at. */
static void encode_window(struct runner *r, struct lane *lane)
{
    int T = 0;
    lane->has_known = false;
    for (size_t e = lane->window; e < lane->at; e++) {
        if (r->model_item[r->data->events[e].item] >= 0)
            r->window_inputs[T++] = input_of(r, lane, e);
    }
    model_prefill(r->model, r->scratch, T, r->window_inputs, lane->state);
}

/* Gives the lane the next user that has something to predict; false when there is none left. */
static bool lane_start(struct runner *r, struct lane *lane)
{
    const struct train_data *data = r->data;
    for (; r->next_user < data->n_users; r->next_user++) {
        int u = r->next_user;
        lane->first = train__eval_first(data, r->options->split, u);
        lane->end = data->user_start[u + 1];
        if (lane->first < lane->end) break;
    }
    if (r->next_user == data->n_users) return false;
    lane->user = r->next_user++;
    lane->window = data->user_start[lane->user];
    for (lane->at = lane->window; lane->at < lane->first; lane->at++)
        lane->window = train__eval_window(r->options, lane->window, lane->at);
    encode_window(r, lane);
    mask_update(r, lane, true);
    return true;
}

/* Lists for all lanes whose next event is a target. */
static void predict(struct runner *r)
{
    const float *vectors[LANES];
    struct model_exclusions exclusions[LANES];
    int32_t targets[LANES];
    int B = 0, K = r->options->k[r->options->n_k - 1];
    for (int l = 0; l < LANES; l++) {
        struct lane *lane = &r->lanes[l];
        if (lane->user < 0) continue;
        const struct train_event *event = &r->data->events[lane->at];
        if (!train__eval_is_target(r->options, event)) continue;
        r->result->targets++;
        r->result->unseen += r->model_item[event->item] < 0;
        r->result->cold += !lane->has_known;
        if (!lane->has_known) {
            train__tally_miss(&r->tally);
            continue;
        }
        vectors[B] = model_state_vector(r->model, lane->state);
        exclusions[B] = (struct model_exclusions){lane->masked, lane->n_masked};
        targets[B++] = r->model_item[event->item];
    }
    if (B == 0) return;
    model_topk(r->model, r->scratch, B, vectors, exclusions, K, r->list, r->scores);
    for (int b = 0; b < B; b++)
        train__tally_add(&r->tally, r->list + (size_t)b * (size_t)K, K, targets[b]);
}

/* Moves every lane behind its next event. */
static void advance(struct runner *r)
{
    float *states[LANES];
    struct model_input inputs[LANES];
    int B = 0;
    for (int l = 0; l < LANES; l++) {
        struct lane *lane = &r->lanes[l];
        if (lane->user < 0 || lane->at + 1 == lane->end) continue;
        size_t window = train__eval_window(r->options, lane->window, lane->at);
        if (window != lane->window) {
            lane->window = window;
            encode_window(r, lane);
        }
        if (r->model_item[r->data->events[lane->at].item] < 0) continue;
        inputs[B] = input_of(r, lane, lane->at);
        states[B++] = lane->state;
    }
    if (B > 0) model_step(r->model, r->scratch, B, states, inputs);
    for (int l = 0; l < LANES; l++) {
        struct lane *lane = &r->lanes[l];
        if (lane->user < 0) continue;
        if (++lane->at == lane->end) {
            lane->user = -1;
        } else {
            mask_update(r, lane, false);
        }
    }
}

static void run_encoder(struct runner *r)
{
    for (uint64_t round = 0;; round++) {
        int busy = 0;
        for (int l = 0; l < LANES; l++) {
            struct lane *lane = &r->lanes[l];
            if (lane->user < 0 && !lane_start(r, lane)) continue;
            busy++;
        }
        if (busy == 0) return;
        predict(r);
        advance(r);
        if (r->options->progress && round % 16 == 0)
            r->options->progress(r->options->context, (double)r->next_user / r->data->n_users);
    }
}

static void runner_init(struct runner *r)
{
    size_t K = (size_t)r->options->k[r->options->n_k - 1];
    struct model_info info = model_info(r->model);
    r->scratch = model_scratch_new(r->model);
    r->model_item = mem_alloc((size_t)r->data->n_items * sizeof *r->model_item);
    for (int i = 0; i < r->data->n_items; i++)
        r->model_item[i] =
            model_item_index(r->model, schemas_item_key(str_of(info.tenant), r->data->item_ids[i]));
    for (int l = 0; l < LANES; l++) {
        r->lanes[l].user = -1;
        r->lanes[l].state = mem_aligned(64, (size_t)info.S * sizeof(float));
    }
    r->window_inputs = mem_alloc((size_t)r->options->window * sizeof *r->window_inputs);
    r->list = mem_alloc(LANES * K * sizeof *r->list);
    r->scores = mem_alloc(LANES * K * sizeof *r->scores);
    train__tally_init(&r->tally, r->options, info.N);
}

static void runner_fini(struct runner *r)
{
    for (int l = 0; l < LANES; l++) {
        mem_free(r->lanes[l].state);
        mem_free(r->lanes[l].masked);
    }
    mem_free(r->model_item);
    mem_free(r->window_inputs);
    mem_free(r->list);
    mem_free(r->scores);
    model_scratch_free(r->scratch);
}

bool eval_run(const struct model *model, const struct train_data *data,
              const struct train_data *history, const struct eval_options *options,
              struct eval_result *result, struct err *err)
{
    assert(options->n_k >= 1 && options->n_k <= EVAL_K_MAX && options->window >= 2);
    assert(options->k[options->n_k - 1] <= MODEL_MAX_K);
    *result = (struct eval_result){0};
    int64_t cut_ms = train_split_ms(data, options->split);
    bool is_all = options->split.protocol == TRAIN_ALL;
    for (int u = 0; u < data->n_users; u++) {
        size_t begin = data->user_start[u];
        if (begin == data->user_start[u + 1]) continue;
        result->first += is_all || data->events[begin].time_ms >= cut_ms;
    }
    struct runner *r = mem_zalloc(sizeof *r);
    r->model = model;
    r->data = data;
    r->options = options;
    r->result = result;
    int catalogue = model_info(model).N;
    runner_init(r);
    run_encoder(r);
    train__tally_finish(&r->tally, catalogue, &result->encoder);
    runner_fini(r);
    mem_free(r);
    if (result->targets == 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "nothing to predict: no user has an event of the asked types behind the "
                         "split and one before it (%zu events)",
                         data->n_events);
    train__eval_popularity(data, history, options, catalogue, result);
    return true;
}
