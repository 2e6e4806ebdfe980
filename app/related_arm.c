/* The arm of related items: the lists of the user's newest items, as the related-items topic has them (app/companions.h). */
#include "app/batch_internal.h"

/* Of each item: orders say more than looks, but all scores are shares of what goes with the item, so all weigh alike. */
static const enum related_kind kinds[] = {RELATED_BOUGHT_TOGETHER, RELATED_ALSO_BOUGHT,
                                          RELATED_ALSO_VIEWED, RELATED_VIEWED_THEN_BOUGHT};
enum { KINDS = sizeof kinds / sizeof kinds[0] };
_Static_assert((int)MODEL_RELATED_ITEMS *(int)KINDS <= (int)MODEL_RELATED_SOURCES, "all fit");

/* The lists of the newest different items of the window; why[s]: of list s. Returns how many. */
static int sources_find(const struct companions *companions, const struct user *user,
                        struct model_related_source *sources, struct work_why *why)
{
    uint64_t met[MODEL_RELATED_ITEMS];
    double weight = 1;
    int n = 0, n_met = 0;
    for (int i = user->n_window - 1; i >= 0 && n_met < MODEL_RELATED_ITEMS; i--) {
        uint64_t item = user->window[i].item;
        bool is_met = false;
        for (int k = 0; k < n_met; k++)
            is_met = is_met || met[k] == item;
        if (is_met) continue;
        met[n_met++] = item;
        for (int k = 0; k < KINDS; k++) {
            struct model_related_source source = {.weight = weight};
            source.n = companions_find(companions, item, kinds[k], &source.list);
            if (source.n == 0) continue;
            why[n] = (struct work_why){item, kinds[k]};
            sources[n++] = source;
        }
        weight *= MODEL_RELATED_FADE;
    }
    return n;
}

void batch__related_note(struct batch *batch, struct work *work,
                         bool (*skip)(void *context, uint64_t key), void *context)
{
    struct model_related_source sources[MODEL_RELATED_SOURCES];
    struct work_why why[MODEL_RELATED_SOURCES];
    struct model_related_item found[MODEL_RELATED_MAX];
    int n_sources = sources_find(batch->env.companions, work->user, sources, why);
    int K = batch->depth < MODEL_RELATED_MAX ? batch->depth : MODEL_RELATED_MAX;
    int n = n_sources == 0 ? 0 : model_related(sources, n_sources, K, skip, context, found);
    work->n_related = n;
    if (n == 0) return;
    work->related = arena_alloc(batch->arena, (size_t)n * sizeof *work->related);
    work->related_scores = arena_alloc(batch->arena, (size_t)n * sizeof *work->related_scores);
    work->related_why = arena_alloc(batch->arena, (size_t)n * sizeof *work->related_why);
    for (int i = 0; i < n; i++) {
        work->related[i] = found[i].key;
        work->related_scores[i] = found[i].score;
        work->related_why[i] = why[found[i].source];
    }
}

struct reason batch__related_reason(struct batch *batch, const struct work *work, uint64_t key)
{
    int i = 0;
    while (work->related[i] != key)
        i++;
    const struct work_why *why = &work->related_why[i];
    bool is_order = why->kind == RELATED_BOUGHT_TOGETHER || why->kind == RELATED_ALSO_BOUGHT;
    struct reason reason = {.kind = is_order ? REASON_BOUGHT_TOGETHER : REASON_BECAUSE_VIEWED};
    if (batch->env.settings->reasons_name_items)
        reason.item_id = batch__item_id(batch, work, why->item);
    return reason;
}
