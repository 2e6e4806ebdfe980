/* What the encoder has to do for a micro-batch: steps are noted record by record, then taken together.
 *
 * A state is a function of the user's window (rule 9). An event that only appends to the window costs one step for each
 * interaction. In all other cases the whole window is encoded again, from the state of nobody: when it changed elsewhere,
 * when the state is another model's, when there is none because states are not stored or were given up. Such a window is
 * rows among the others: many users' windows go through the layers at once, and rows behind which nobody reads a vector
 * are marked as passing. The bits do not depend on which of the two ways was taken (model/model.h). */
#include "app/batch_internal.h"

#include <string.h>

void batch__vector_take(struct batch *batch, struct work *work, const float *vector)
{
    size_t D = (size_t)batch->info.D;
    const float *from = vector ? vector : model_state_vector(batch->env.model, work->user->encoder);
    memcpy(batch->vectors + (size_t)(work - batch->work) * D, from, D * sizeof *from);
    work->row = 0;
}

void batch__encode(struct batch *batch)
{
    size_t D = (size_t)batch->info.D;
    for (int at = 0; at < batch->n_rows; at += batch->info.max_batch) {
        int left = batch->n_rows - at, first = batch->rows_first + at + 1;
        int n = left < batch->info.max_batch ? left : batch->info.max_batch;
        model_advance(batch->env.model, batch->scratch, n, batch->rows + at, batch->advanced);
        for (int i = 0; i < batch->n_work; i++) {
            struct work *work = &batch->work[i];
            if (work->has_vector && work->row >= first && work->row < first + n)
                batch__vector_take(batch, work, batch->advanced + (size_t)(work->row - first) * D);
        }
    }
    counters_add(batch->env.counters, METRIC_STEPS, 0, batch->n_rows);
    batch->rows_first += batch->n_rows;
    batch->n_rows = 0;
}

/* The window's entries [from, n) that the model knows, as encoder inputs in the arena. Returns how many. */
static int inputs_make(struct batch *batch, const struct user *user, int from,
                       struct model_input **inputs)
{
    const struct model *model = batch->env.model;
    struct model_input *out =
        arena_alloc(batch->arena, (size_t)(user->n_window - from) * sizeof *out + 1);
    int n = 0, before = from - 1;
    while (before >= 0 && model_item_index(model, user->window[before].item) < 0)
        before--;
    for (int i = from; i < user->n_window; i++) {
        const struct interaction *now = &user->window[i];
        int32_t item = model_item_index(model, now->item);
        if (item < 0) continue;
        int64_t gap = before < 0 ? 0 : now->time_ms - user->window[before].time_ms;
        out[n++] =
            (struct model_input){.item = item, .type = now->type, .gap_ms = gap > 0 ? gap : 0};
        before = i;
    }
    *inputs = out;
    return n;
}

static void row_push(struct batch *batch, struct user *user, struct model_row row)
{
    if (batch->n_rows == batch->rows_cap) {
        batch->rows_cap *= 2;
        batch->rows = mem_realloc(batch->rows, (size_t)batch->rows_cap * sizeof *batch->rows);
    }
    batch->rows[batch->n_rows++] = row;
    user->batch_row = batch->rows_first + batch->n_rows;
}

void batch__encode_note(struct batch *batch, struct user *user, const struct fold_result *folded)
{
    struct model_input *inputs;
    if (user->n_window == 0) return;
    float *state = state_user_encoder(batch->env.state, user);
    bool whole = user->model_id != batch->info.id || folded->rebuild;
    int from = whole ? 0 : user->n_window - folded->appended;
    int n = inputs_make(batch, user, from, &inputs);
    if (whole && n == 0) {
        batch__encode(batch); /* steps that wait would be taken from the state that goes now */
        model_state_init(batch->env.model, state);
        user->batch_row = 0;
    }
    if (whole) {
        user->model_id = batch->info.id;
        if (n > 1) counters_add(batch->env.counters, METRIC_PREFILLS, 0, 1);
    }
    for (int i = 0; i < n; i++)
        row_push(batch, user,
                 (struct model_row){.state = state,
                                    .input = inputs[i],
                                    .fresh = whole && i == 0,
                                    .passing = i < n - 1});
}
