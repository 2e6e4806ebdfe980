/* Encoder steps of many users, collected and taken together.
 *
 * model_advance wants many rows: it reads the weights once for all of them, and an encoder whose step needs the one before it
 * (gru) can only put rows of different users side by side. So the walk notes steps and who wants the vector behind which; when
 * the queue is full, or a batch of lists is due, all are taken. Users are independent: their steps may be taken in any order that
 * keeps each user's own, and the bits stay the same (model.h).
 *
 * Order: `lanes` users go side by side, runs of at most `run` steps of each, then their next runs, to the end of all; then the
 * next users. There are LANES_MAX of them with small states; with large ones (attention keeps keys and values) fewer, and fewer
 * rows in a call, so that states and rows stay in the cache. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/eval.h"

enum { ROWS_MAX = 8192, LANES_MAX = 32, RUN_MAX = 64, LANES_BYTES = 1 << 20 };

struct noted {
    struct train__lane *lane;
    struct model_row row;
    int place; /* among the lane's steps of the queue, from 0 */
    int order; /* of the lane among those of the queue */
    int wants; /* first of the wants behind the row, -1 none */
};

struct want {
    float *vector; /* (D) */
    int next;      /* of the same row, -1 none */
};

struct train__steps {
    const struct model *model;
    struct model_scratch *scratch;
    size_t S, D;
    int lanes, run, call; /* call: rows of one model_advance */
    struct noted *noted;  /* (ROWS_MAX) in the order of arrival */
    int n, n_lanes;
    struct want *wants; /* (wants_cap) */
    int n_wants, wants_cap;
    float **dead; /* (n_dead) states to be freed when the queue is empty */
    int n_dead, dead_cap;
    struct noted **order; /* (ROWS_MAX) */
    float *vectors;       /* (MODEL_MAX_BATCH,D) */
};

struct train__steps *train__steps_new(const struct model *model, struct model_scratch *scratch)
{
    struct train__steps *steps = mem_zalloc(sizeof *steps);
    struct model_info info = model_info(model);
    size_t lanes = LANES_BYTES / ((size_t)info.S * sizeof(float));
    lanes = lanes > LANES_MAX ? LANES_MAX : lanes < 1 ? 1 : lanes;
    steps->model = model;
    steps->scratch = scratch;
    steps->S = (size_t)info.S;
    steps->D = (size_t)info.D;
    steps->lanes = (int)lanes;
    steps->run = MODEL_MAX_BATCH / (int)lanes < RUN_MAX ? MODEL_MAX_BATCH / (int)lanes : RUN_MAX;
    steps->call = steps->lanes * steps->run;
    steps->noted = mem_alloc(ROWS_MAX * sizeof *steps->noted);
    steps->order = mem_alloc(ROWS_MAX * sizeof *steps->order);
    steps->vectors = mem_aligned(64, MODEL_MAX_BATCH * steps->D * sizeof(float));
    return steps;
}

void train__steps_free(struct train__steps *steps)
{
    train__steps_take(steps);
    mem_free(steps->noted);
    mem_free(steps->order);
    mem_free(steps->vectors);
    mem_free(steps->wants);
    mem_free(steps->dead);
    mem_free(steps);
}

/* ---- noting ---- */

void train__lane_start(struct train__steps *steps, struct train__lane *lane)
{
    if (!lane->state) lane->state = mem_aligned(64, steps->S * sizeof(float));
    lane->fresh = true;
}

void train__lane_stop(struct train__steps *steps, struct train__lane *lane)
{
    if (lane->n == 0) {
        mem_free(lane->state);
    } else {
        if (steps->n_dead == steps->dead_cap) {
            steps->dead_cap = steps->dead_cap ? 2 * steps->dead_cap : 64;
            steps->dead = mem_realloc(steps->dead, (size_t)steps->dead_cap * sizeof(float *));
        }
        steps->dead[steps->n_dead++] = lane->state;
    }
    lane->state = NULL;
    /* Freed soon, a large state is the next user's while it is still in the cache. */
    if ((size_t)steps->n_dead * steps->S * sizeof(float) >= LANES_BYTES) train__steps_take(steps);
}

void train__lane_step(struct train__steps *steps, struct train__lane *lane,
                      struct model_input input)
{
    if (steps->n == ROWS_MAX) train__steps_take(steps);
    if (lane->n == 0) lane->order = steps->n_lanes++;
    steps->noted[steps->n] = (struct noted){
        .lane = lane,
        .row = {.state = lane->state, .input = input, .fresh = lane->fresh, .passing = true},
        .place = lane->n++,
        .order = lane->order,
        .wants = -1,
    };
    lane->newest = steps->n++;
    lane->fresh = false;
}

void train__lane_want(struct train__steps *steps, const struct train__lane *lane, float *vector)
{
    if (lane->n == 0) {
        memcpy(vector, model_state_vector(steps->model, lane->state), steps->D * sizeof *vector);
        return;
    }
    if (steps->n_wants == steps->wants_cap) {
        steps->wants_cap = steps->wants_cap ? 2 * steps->wants_cap : 64;
        steps->wants = mem_realloc(steps->wants, (size_t)steps->wants_cap * sizeof *steps->wants);
    }
    struct noted *noted = &steps->noted[lane->newest];
    steps->wants[steps->n_wants] = (struct want){vector, noted->wants};
    noted->wants = steps->n_wants++;
}

/* ---- taking ---- */

struct key {
    int group, run, order, place, at;
};

static int by_key(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->group != b->group) return a->group < b->group ? -1 : 1;
    if (a->run != b->run) return a->run < b->run ? -1 : 1;
    if (a->order != b->order) return a->order < b->order ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static void put_in_order(struct train__steps *steps)
{
    struct key *keys = mem_alloc((size_t)steps->n * sizeof *keys);
    for (int i = 0; i < steps->n; i++) {
        const struct noted *noted = &steps->noted[i];
        keys[i] = (struct key){.group = noted->order / steps->lanes,
                               .run = noted->place / steps->run,
                               .order = noted->order,
                               .place = noted->place,
                               .at = i};
    }
    qsort(keys, (size_t)steps->n, sizeof *keys, by_key);
    for (int i = 0; i < steps->n; i++)
        steps->order[i] = &steps->noted[keys[i].at];
    mem_free(keys);
}

/* A vector is read when somebody wants it, or later from the state behind the user's last step. */
static void mark_read(struct train__steps *steps)
{
    for (int i = 0; i < steps->n; i++) {
        struct noted *noted = &steps->noted[i];
        if (noted->wants >= 0 || noted->lane->newest == i) noted->row.passing = false;
    }
    for (int i = 0; i < steps->n; i++)
        steps->noted[i].lane->n = 0;
}

static void hand_out(const struct train__steps *steps, const struct noted *noted,
                     const float *vector)
{
    for (int w = noted->wants; w >= 0; w = steps->wants[w].next)
        memcpy(steps->wants[w].vector, vector, steps->D * sizeof *vector);
}

void train__steps_take(struct train__steps *steps)
{
    struct model_row rows[MODEL_MAX_BATCH];
    if (steps->n > 0) put_in_order(steps);
    mark_read(steps);
    for (int at = 0; at < steps->n; at += steps->call) {
        int left = steps->n - at, n = left < steps->call ? left : steps->call;
        for (int r = 0; r < n; r++)
            rows[r] = steps->order[at + r]->row;
        model_advance(steps->model, steps->scratch, n, rows, steps->vectors);
        for (int r = 0; r < n; r++)
            hand_out(steps, steps->order[at + r], steps->vectors + (size_t)r * steps->D);
    }
    for (int i = 0; i < steps->n_dead; i++)
        mem_free(steps->dead[i]);
    steps->n = steps->n_lanes = steps->n_wants = steps->n_dead = 0;
}
