/* The attention encoder's part: causal self attention of each row over its own user's newest positions.
 *
 * A state holds what later rows need of the earlier ones, so a step costs one row of each product and a pass over the
 * positions in use. The keys lie transposed: a head's scores are then sums down its d rows, 16 positions at a time, and
 * nothing is added across a vector.
 *
 *   OFFSET        SIZE            MEANING, in floats
 *   0             16              count: positions since the state of nobody or the last halving (uint32 bits); the rest is free
 *   16            4 W' or 0       only with learnt positions: the inputs of those in use (struct model_input), oldest first
 *   ..            2 H W' a block  keys (H,W'), then values (W',H); position p in column and row p % W
 *
 * Behind it stands the user vector. Derived: turns (W,2,d) of rotary positions.
 *
 * W = window, W' = W rounded up to 16. What stands behind the positions in use is never looked at, so a row that is taken from
 * the state of nobody clears nothing but the count. */

#include "model/internal.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    HEAD_FLOATS = 16,
    INPUT_FLOATS = sizeof(struct model_input) / sizeof(float),
    HALVING_ROWS = 64
};

static int stride_of(const struct model_config *c)
{
    return (c->window + 15) / 16 * 16;
}

static size_t rings_at(const struct model_config *c)
{
    size_t inputs = c->positions > 0 ? (size_t)(INPUT_FLOATS * stride_of(c)) : 0;
    return HEAD_FLOATS + inputs;
}

static size_t ring_floats(const struct model_config *c)
{
    return 2 * (size_t)c->H * (size_t)stride_of(c);
}

static int turn_floats(const struct model_config *c)
{
    return c->rotary ? 2 * c->H / c->heads : 0;
}

static int state_floats(const struct model_config *config)
{
    return (int)(rings_at(config) + (size_t)config->L * ring_floats(config));
}

/* Of each row: its position; its turn (2,d); then room for the weights of a head, or for the halves of queries and keys. */
static int row_floats(const struct model_config *config)
{
    int stride = stride_of(config), turned = 2 * config->H;
    return HEAD_FLOATS + turn_floats(config) + (stride > turned ? stride : turned);
}

static float *row_own(const struct model_config *config, struct model_scratch *scratch, int r)
{
    return scratch->own + (size_t)r * (size_t)row_floats(config);
}

/* ---- positions ---- */

double model_rotary_frequency(int i, int d)
{
    return pow(10000.0, -2.0 * i / d);
}

/* turn (2,d): cosines, then sines with the sign that the other half of the pair has in the sum. */
static void turn_make(int d, uint32_t position, float *turn)
{
    for (int i = 0; i < d / 2; i++) {
        double angle = position * model_rotary_frequency(i, d);
        turn[i] = turn[d / 2 + i] = (float)cos(angle);
        turn[d + i] = -(float)sin(angle);
        turn[d + d / 2 + i] = (float)sin(angle);
    }
}

/* The turns of the first W positions; later ones are made when they come. */
static bool derive(struct model *model, struct err *err)
{
    const struct model_config *c = &model->config;
    size_t floats = (size_t)turn_floats(c);
    (void)err;
    if (!c->rotary) return true;
    model->derived = mem_aligned(64, (size_t)c->window * floats * sizeof(float));
    for (int p = 0; p < c->window; p++)
        turn_make(c->H / c->heads, (uint32_t)p, model->derived + (size_t)p * floats);
    return true;
}

/* A whole number in the place of a float. */
static uint32_t get_u32(const float *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void put_u32(float *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static float *state_input(float *state, uint32_t position)
{
    return state + HEAD_FLOATS + (size_t)position * INPUT_FLOATS;
}

/* Takes the newest W / 2 of W inputs again, from the state of nobody on: learnt positions count from the oldest one left. */
static void halve(const struct model *model, struct model_scratch *scratch, float *state)
{
    struct model_row rows[HALVING_ROWS];
    int keep = model->config.window / 2, from = model->config.window - keep;
    put_u32(state, 0);
    for (int at = 0, n; at < keep; at += n) {
        n = keep - at < HALVING_ROWS ? keep - at : HALVING_ROWS;
        for (int r = 0; r < n; r++) {
            rows[r] = (struct model_row){.state = state, .passing = true};
            memcpy(&rows[r].input, state_input(state, (uint32_t)(from + at + r)),
                   sizeof rows[r].input);
        }
        model_advance(model, scratch, n, rows, NULL);
    }
}

/* Gives each row its position. Ends before a row whose user has no position left; when that is the first row, its state is
 * halved. */
static int admit(const struct model *model, struct model_scratch *scratch, int n,
                 const struct model_row *rows)
{
    const struct model_config *c = &model->config;
    for (int r = 0; r < n; r++) {
        float *state = rows[r].state;
        uint32_t count = rows[r].fresh ? 0 : get_u32(state);
        if (c->positions > 0 && count >= (uint32_t)c->window) {
            if (r > 0) return r;
            halve(model, scratch, state);
            count = get_u32(state);
        }
        if (c->positions > 0)
            memcpy(state_input(state, count), &rows[r].input, sizeof rows[r].input);
        put_u32(row_own(c, scratch, r), count);
        put_u32(state, count + 1);
    }
    return n;
}

/* Learnt positions; and the turns of rotary ones, once for all blocks. */
static void embed(const struct model *model, struct model_scratch *scratch, int n)
{
    const struct model_config *c = &model->config;
    const float *positions = model__tensor(model, MODEL_POSITION_EMBEDDING, 0);
    size_t D = (size_t)c->D, floats = (size_t)turn_floats(c);
    for (int r = 0; r < n; r++) {
        float *own = row_own(c, scratch, r), *z = scratch->z + (size_t)r * D;
        uint32_t position = get_u32(own);
        for (size_t j = 0; positions != NULL && j < D; j++)
            z[j] += positions[(size_t)position * D + j];
        if (floats > 0 && position < (uint32_t)c->window)
            memcpy(own + HEAD_FLOATS, model->derived + (size_t)position * floats,
                   floats * sizeof *own);
        else if (floats > 0)
            turn_make(c->H / c->heads, position, own + HEAD_FLOATS);
    }
}

/* ---- one row ---- */

/* Turns the queries and keys of a row, u (2H). turn (2,d); other (2H) is overwritten. */
static void turn_row(const struct model *model, const float *turn, float *other, float *u)
{
    const struct model_config *c = &model->config;
    size_t d = (size_t)(c->H / c->heads), half = d / 2;
    for (size_t i = 0; i < 2 * (size_t)c->H; i += d) {
        memcpy(other + i, u + i + half, half * sizeof *other);
        memcpy(other + i + half, u + i, half * sizeof *other);
    }
    model->kernels->turn(2 * c->heads, (int)d, turn, u, other, u);
}

/* h (H) <- what the row takes from its user's positions, its own included. u (3H): query, key, value; weight (W') is
 * overwritten. */
static void attend_row(const struct model *model, uint32_t position, float *weight, const float *u,
                       float *ring, float *h)
{
    const struct model_config *c = &model->config;
    int stride = stride_of(c), d = c->H / c->heads;
    uint32_t slot = position % (uint32_t)c->window;
    float *keys = ring, *values = ring + (size_t)c->H * (size_t)stride;
    for (int j = 0; j < c->H; j++)
        keys[(size_t)j * (size_t)stride + slot] = u[c->H + j];
    memcpy(values + (size_t)slot * (size_t)c->H, u + 2 * c->H, (size_t)c->H * sizeof *values);
    for (int j = 0; j < c->H; j += d) {
        struct model__head head = {
            .d = d,
            .n = position < (uint32_t)c->window ? (int)position + 1 : c->window,
            .stride = stride,
            .width = c->H,
            .keys = keys + (size_t)j * (size_t)stride,
            .values = values + j,
        };
        model->kernels->attend(&head, 1.0f / sqrtf((float)d), u + j, weight, h + j);
    }
}

static void mix(const struct model *model, struct model_scratch *scratch, int block, int n,
                const struct model_row *rows)
{
    const struct model_config *c = &model->config;
    size_t H = (size_t)c->H, at = rings_at(c) + (size_t)block * ring_floats(c);
    for (int r = 0; r < n; r++) {
        float *u = scratch->u + (size_t)r * 3 * H, *own = row_own(c, scratch, r);
        float *room = own + HEAD_FLOATS + turn_floats(c);
        if (c->rotary) turn_row(model, own + HEAD_FLOATS, room, u);
        attend_row(model, get_u32(own), room, u, rows[r].state + at, scratch->h + (size_t)r * H);
    }
}

const struct model__encoder model__encoder_attention = {
    .state_floats = state_floats,
    .row_floats = row_floats,
    .derive = derive,
    .admit = admit,
    .embed = embed,
    .mix = mix,
};
