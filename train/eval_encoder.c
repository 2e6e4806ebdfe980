/* The encoder's arm: the functions that the pipeline uses, on states that live from a user's first query to the last
 * event, or until all states together would be too large: then they are made anew from the windows. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/eval.h"

static const size_t state_bytes = (size_t)1 << 30;

struct reader {
    struct train__lane lane; /* stopped: nothing was asked yet */
    bool has_known;          /* the window holds an item that the model knows */
    int64_t known_ms;        /* time of the newest of them */
};

/* A list that is made when the batch ends. */
struct slot {
    float *vector;   /* (D) */
    int32_t *masked; /* model's indices, ascending, no repeats */
    int n_masked, room;
    int32_t *list;
};

struct encoder {
    struct train__eval *eval;
    struct model_scratch *scratch;
    struct train__steps *steps;
    size_t n_states, room;  /* states there are, and may be */
    struct reader *readers; /* (n_users) */
    struct slot slots[TRAIN__QUERIES];
    int n;         /* slots in use */
    float *scores; /* (QUERIES,K) */
    int32_t *list; /* (QUERIES,K) model's indices */
};

static void *encoder_start(struct train__eval *eval)
{
    struct encoder *encoder = mem_zalloc(sizeof *encoder);
    struct model_info info = model_info(eval->model);
    size_t lists = (size_t)TRAIN__QUERIES * (size_t)eval->K;
    encoder->eval = eval;
    encoder->scratch = model_scratch_new(eval->model);
    encoder->steps = train__steps_new(eval->model, encoder->scratch);
    size_t bytes = eval->options->state_bytes ? eval->options->state_bytes : state_bytes;
    encoder->room = bytes / ((size_t)info.S * sizeof(float)) + 1;
    encoder->readers = mem_zalloc((size_t)eval->data->n_users * sizeof *encoder->readers);
    encoder->scores = mem_alloc(lists * sizeof *encoder->scores);
    encoder->list = mem_alloc(lists * sizeof *encoder->list);
    for (int s = 0; s < TRAIN__QUERIES; s++)
        encoder->slots[s].vector = mem_aligned(64, (size_t)info.D * sizeof(float));
    return encoder;
}

static void encoder_stop(void *arm)
{
    struct encoder *encoder = arm;
    for (int u = 0; u < encoder->eval->data->n_users; u++)
        train__lane_stop(encoder->steps, &encoder->readers[u].lane);
    train__steps_free(encoder->steps);
    for (int s = 0; s < TRAIN__QUERIES; s++) {
        mem_free(encoder->slots[s].vector);
        mem_free(encoder->slots[s].masked);
    }
    mem_free(encoder->readers);
    mem_free(encoder->scores);
    mem_free(encoder->list);
    model_scratch_free(encoder->scratch);
    mem_free(encoder);
}

static int32_t model_item(const struct encoder *encoder, size_t event)
{
    return encoder->eval->items.to_model[encoder->eval->data->events[event].item];
}

/* The encoder's view of an event whose item the model knows; the newest known moves to it. */
static struct model_input input_of(const struct encoder *encoder, struct reader *reader, size_t e)
{
    const struct train_data *data = encoder->eval->data;
    const struct train_event *event = &data->events[e];
    int64_t gap_ms = reader->has_known && data->has_times ? event->time_ms - reader->known_ms : 0;
    reader->has_known = true;
    reader->known_ms = event->time_ms;
    return (struct model_input){
        .item = model_item(encoder, e), .type = event->type, .gap_ms = gap_ms > 0 ? gap_ms : 0};
}

static void step(struct encoder *encoder, struct reader *reader, size_t event)
{
    if (model_item(encoder, event) < 0) return;
    struct model_input input = input_of(encoder, reader, event);
    train__lane_step(encoder->steps, &reader->lane, input);
}

/* The state from the events [begin, end). */
static void encode_window(struct encoder *encoder, struct reader *reader, size_t begin, size_t end)
{
    reader->has_known = false;
    train__lane_start(encoder->steps, &reader->lane);
    for (size_t e = begin; e < end; e++)
        step(encoder, reader, e);
}

static void forget(struct encoder *encoder, struct reader *reader)
{
    if (!reader->lane.state) return;
    train__lane_stop(encoder->steps, &reader->lane);
    encoder->n_states--;
}

/* A user's first query, or the first since all states were dropped. */
static void remember(struct encoder *encoder, const struct train__query *query)
{
    if (encoder->n_states == encoder->room) {
        for (int u = 0; u < encoder->eval->data->n_users; u++)
            forget(encoder, &encoder->readers[u]);
    }
    encoder->n_states++;
    encode_window(encoder, &encoder->readers[query->user], query->window, query->event);
}

static int by_index(const void *left, const void *right)
{
    int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    return a < b ? -1 : a > b;
}

static void slot_mask(const struct encoder *encoder, struct slot *slot,
                      const struct train__query *query)
{
    int room = (int)(query->event - query->mask), n = 0;
    if (room > slot->room) {
        slot->masked = mem_realloc(slot->masked, (size_t)room * sizeof *slot->masked);
        slot->room = room;
    }
    for (size_t e = query->mask; e < query->event; e++) {
        int32_t item = model_item(encoder, e);
        if (item >= 0) slot->masked[n++] = item;
    }
    slot->n_masked = 0;
    if (n == 0) return;
    qsort(slot->masked, (size_t)n, sizeof *slot->masked, by_index);
    for (int i = 0; i < n; i++) {
        if (i == 0 || slot->masked[i] != slot->masked[i - 1])
            slot->masked[slot->n_masked++] = slot->masked[i];
    }
}

static void encoder_ask(void *arm, const struct train__query *query, int32_t *list)
{
    struct encoder *encoder = arm;
    struct reader *reader = &encoder->readers[query->user];
    if (!reader->lane.state) remember(encoder, query);
    list[0] = -1;
    if (!reader->has_known) {
        encoder->eval->result->cold++;
        return;
    }
    struct slot *slot = &encoder->slots[encoder->n++];
    slot->list = list;
    train__lane_want(encoder->steps, &reader->lane, slot->vector);
    slot_mask(encoder, slot, query);
}

static void encoder_end_batch(void *arm)
{
    struct encoder *encoder = arm;
    const float *vectors[TRAIN__QUERIES];
    struct model_exclusions exclusions[TRAIN__QUERIES];
    int B = encoder->n, K = encoder->eval->K;
    if (B <= 0) return;
    train__steps_take(encoder->steps);
    for (int b = 0; b < B; b++) {
        const struct slot *slot = &encoder->slots[b];
        vectors[b] = slot->vector;
        exclusions[b] = (struct model_exclusions){.items = slot->masked, .n = slot->n_masked};
    }
    model_topk(encoder->eval->model, encoder->scratch, B, vectors, exclusions, K, encoder->list,
               encoder->scores);
    for (int b = 0; b < B; b++) {
        const int32_t *row = encoder->list + (size_t)b * (size_t)K;
        int32_t *list = encoder->slots[b].list;
        for (int i = 0; i < K; i++)
            list[i] = row[i] >= 0 ? encoder->eval->items.from_model[row[i]] : -1;
        memcpy(encoder->eval->score[EVAL_ENCODER] + (list - encoder->eval->list[EVAL_ENCODER]),
               encoder->scores + (size_t)b * (size_t)K, (size_t)K * sizeof(float));
    }
    encoder->n = 0;
}

static void encoder_learn(void *arm, const struct train__query *query)
{
    struct encoder *encoder = arm;
    struct reader *reader = &encoder->readers[query->user];
    if (!reader->lane.state) return;
    if (query->event + 1 == encoder->eval->data->user_start[query->user + 1]) {
        forget(encoder, reader);
        return;
    }
    size_t window = train__eval_window(encoder->eval->options, query->window, query->event);
    if (window != query->window) encode_window(encoder, reader, window, query->event);
    step(encoder, reader, query->event);
}

const struct train__arm train__arm_encoder = {
    .start = encoder_start,
    .ask = encoder_ask,
    .end_batch = encoder_end_batch,
    .learn = encoder_learn,
    .stop = encoder_stop,
};
