/* The encoder forward: one step for B users, and a whole window for one.
 *
 * Both run the same code over rows: in a step the rows are users, in a prefill they are the steps of one
 * window. As every row's result is the same in any batch, a prefill gives the bits of its steps. What a
 * row takes from the rows before it is the encoder's own (encoder_<kind>.c); embedding, norms and the
 * feed-forward half are here.
 *
 * A state (S floats): what the encoder keeps; then the user vector (D). */

#include "model/internal.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

const char *const model_encoder_names[ENCODER_KINDS] = {
    [ENCODER_LRU] = "lru", [ENCODER_GRU] = "gru", [ENCODER_ATTENTION] = "attention"};

const struct model__encoder *const model__encoders[ENCODER_KINDS] = {
    [ENCODER_LRU] = &model__encoder_lru,
    [ENCODER_GRU] = &model__encoder_gru,
    [ENCODER_ATTENTION] = &model__encoder_attention,
};

enum { PREFILL_ROWS = 64 }; /* steps of a window taken at once: their rows stay in the L2 cache */

static float *state_vector(const struct model *model, float *state)
{
    return state + (model->S - model->config.D);
}

/* ---- scratch ---- */

struct model_scratch *model_scratch_new(const struct model *model)
{
    (void)model;
    return mem_zalloc(sizeof(struct model_scratch));
}

static void scratch_release(struct model_scratch *scratch)
{
    mem_free(scratch->x);
    mem_free(scratch->z);
    mem_free(scratch->u);
    mem_free(scratch->h);
    mem_free(scratch->own);
    mem_free(scratch->wide);
}

void model_scratch_free(struct model_scratch *scratch)
{
    if (scratch == NULL) return;
    scratch_release(scratch);
    model__search_free(scratch->search);
    mem_free(scratch);
}

static float *new_rows(int rows, int width)
{
    return mem_aligned(64, (size_t)rows * (size_t)width * sizeof(float));
}

void model__scratch_rows(const struct model *model, struct model_scratch *scratch, int rows)
{
    if (rows <= scratch->rows) return;
    scratch_release(scratch);
    scratch->rows = rows;
    scratch->x = new_rows(rows, model->config.D);
    scratch->z = new_rows(rows, model->config.D);
    scratch->u = new_rows(rows, model->mix_in);
    scratch->h = new_rows(rows, model->mix_out);
    scratch->own = model->encoder->row_floats != NULL
                       ? new_rows(rows, model->encoder->row_floats(&model->config))
                       : NULL;
    scratch->wide = new_rows(rows, model->config.F);
}

/* ---- one block over rows ---- */

static int clamp_row(int row, int n)
{
    return row < 0 ? 0 : row < n ? row : n - 1;
}

/* out (D) = E[item] + type_emb[type] + gap_emb[bucket]. */
static void embed(const struct model *model, const struct model_input *input, float *out)
{
    const struct model_config *c = &model->config;
    size_t D = (size_t)c->D;
    assert(input->item >= 0 && input->item < c->N);
    memcpy(out, model__tensor(model, MODEL_ITEM_EMBEDDING, 0) + (size_t)input->item * D,
           D * sizeof *out);
    const float *row[2] = {NULL, NULL};
    if (c->n_types > 0)
        row[0] = model__tensor(model, MODEL_TYPE_EMBEDDING, 0) +
                 (size_t)clamp_row(input->type, c->n_types) * D;
    if (c->n_gaps > 0)
        row[1] = model__tensor(model, MODEL_GAP_EMBEDDING, 0) +
                 (size_t)model_gap_bucket(input->gap_ms, c->n_gaps) * D;
    for (int r = 0; r < 2; r++)
        for (size_t j = 0; row[r] != NULL && j < D; j++)
            out[j] += row[r][j];
}

/* x (rows,D) <- norm of the embedded inputs in z. */
static void embed_norm(const struct model *model, struct model_scratch *scratch, int rows)
{
    model->kernels->norm(rows, model->config.D, scratch->z, NULL,
                         model__tensor(model, MODEL_INPUT_NORM_WEIGHT, 0),
                         model__tensor(model, MODEL_INPUT_NORM_BIAS, 0), scratch->x);
}

/* The first half of a block: scratch->h (rows,W) <- what x (rows,D) and the states say. */
static void block_in(const struct model *model, struct model_scratch *scratch, int block, int n,
                     const struct model_row *rows)
{
    model->kernels->matmul(n, model->config.D, model->mix_in, scratch->x,
                           model__packed(model, MODEL_MIX_IN_WEIGHT, block),
                           model__tensor(model, MODEL_MIX_IN_BIAS, block), scratch->u);
    model->encoder->mix(model, scratch, block, n, rows);
}

/* The rest of a block: x (rows,D) <- its output from what was mixed, h (rows,W), and x. */
static void block_out(const struct model *model, struct model_scratch *scratch, int block, int rows)
{
    const struct model_config *c = &model->config;
    const struct model__kernels *k = model->kernels;
    k->matmul(rows, model->mix_out, c->D, scratch->h,
              model__packed(model, MODEL_MIX_OUT_WEIGHT, block),
              model__tensor(model, MODEL_MIX_OUT_BIAS, block), scratch->z);
    k->norm(rows, c->D, scratch->z, scratch->x, model__tensor(model, MODEL_MIX_NORM_WEIGHT, block),
            model__tensor(model, MODEL_MIX_NORM_BIAS, block), scratch->z);
    k->matmul(rows, c->D, c->F, scratch->z, model__packed(model, MODEL_FFN_IN_WEIGHT, block),
              model__tensor(model, MODEL_FFN_IN_BIAS, block), scratch->wide);
    k->gelu((size_t)rows * (size_t)c->F, scratch->wide);
    k->matmul(rows, c->F, c->D, scratch->wide, model__packed(model, MODEL_FFN_OUT_WEIGHT, block),
              model__tensor(model, MODEL_FFN_OUT_BIAS, block), scratch->x);
    k->norm(rows, c->D, scratch->x, scratch->z, model__tensor(model, MODEL_FFN_NORM_WEIGHT, block),
            model__tensor(model, MODEL_FFN_NORM_BIAS, block), scratch->x);
}

/* ---- public ---- */

void model_state_init(const struct model *model, float *state)
{
    memset(state, 0, (size_t)model->S * sizeof *state);
}

const float *model_state_vector(const struct model *model, const float *state)
{
    return state + (model->S - model->config.D);
}

/* Behind the last mix only vectors are left to make: moves the rows that need one together, to the front of x and h.
 * kept (n): where each came from. Returns how many. */
static int keep_rows(const struct model *model, struct model_scratch *scratch, int n,
                     const struct model_row *rows, int *kept)
{
    size_t D = (size_t)model->config.D, width = (size_t)model->mix_out;
    int m = 0;
    for (int r = 0; r < n; r++) {
        if (rows[r].passing) continue;
        if (m < r) {
            memcpy(scratch->x + (size_t)m * D, scratch->x + (size_t)r * D, D * sizeof(float));
            memcpy(scratch->h + (size_t)m * width, scratch->h + (size_t)r * width,
                   width * sizeof(float));
        }
        kept[m++] = r;
    }
    return m;
}

/* Rows that the encoder takes in one pass. */
static void advance(const struct model *model, struct model_scratch *scratch, int n,
                    const struct model_row *rows, float *vectors)
{
    size_t D = (size_t)model->config.D;
    int kept[MODEL_MAX_BATCH], m = n, last = model->config.L - 1;
    for (int r = 0; r < n; r++)
        embed(model, &rows[r].input, scratch->z + (size_t)r * D);
    if (model->encoder->embed != NULL) model->encoder->embed(model, scratch, n);
    embed_norm(model, scratch, n);
    for (int block = 0; block <= last; block++) {
        block_in(model, scratch, block, n, rows);
        if (block == last) m = keep_rows(model, scratch, n, rows, kept);
        block_out(model, scratch, block, m);
    }
    for (int i = 0; i < m; i++) {
        const float *vector = scratch->x + (size_t)i * D;
        memcpy(state_vector(model, rows[kept[i]].state), vector, D * sizeof(float));
        if (vectors) memcpy(vectors + (size_t)kept[i] * D, vector, D * sizeof(float));
    }
}

void model_advance(const struct model *model, struct model_scratch *scratch, int n,
                   const struct model_row *rows, float *vectors)
{
    const struct model__encoder *encoder = model->encoder;
    assert(n <= MODEL_MAX_BATCH);
    for (int at = 0, m; at < n; at += m) {
        model__scratch_rows(model, scratch, n - at);
        m = encoder->admit != NULL ? encoder->admit(model, scratch, n - at, rows + at) : n - at;
        advance(model, scratch, m, rows + at,
                vectors ? vectors + (size_t)at * (size_t)model->config.D : NULL);
    }
}

void model_step(const struct model *model, struct model_scratch *scratch, int B,
                float *const *state, const struct model_input *input)
{
    struct model_row rows[MODEL_MAX_BATCH];
    assert(B <= MODEL_MAX_BATCH);
    for (int b = 0; b < B; b++)
        rows[b] = (struct model_row){.state = state[b], .input = input[b]};
    model_advance(model, scratch, B, rows, NULL);
}

void model_prefill(const struct model *model, struct model_scratch *scratch, int T,
                   const struct model_input *input, float *state)
{
    struct model_row rows[PREFILL_ROWS];
    model_state_init(model, state);
    for (int t = 0; t < T; t += PREFILL_ROWS) {
        int n = T - t < PREFILL_ROWS ? T - t : PREFILL_ROWS;
        for (int r = 0; r < n; r++)
            rows[r] =
                (struct model_row){.state = state, .input = input[t + r], .passing = t + r + 1 < T};
        model_advance(model, scratch, n, rows, NULL);
    }
}
