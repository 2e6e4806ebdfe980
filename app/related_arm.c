/* The arms of published lists (app/companions.h): related items, by the lists of the user's newest items, and what rises, by those of
 * their categories and of the whole shop. */
#include "app/batch_internal.h"

/* Of each item: orders say more than looks, but all scores are shares of what goes with the item, so all weigh alike. */
static const enum related_kind kinds[] = {RELATED_BOUGHT_TOGETHER, RELATED_ALSO_BOUGHT,
                                          RELATED_ALSO_VIEWED, RELATED_VIEWED_THEN_BOUGHT};
enum { KINDS = sizeof kinds / sizeof kinds[0] };
_Static_assert((int)MODEL_RELATED_ITEMS *(int)KINDS <= (int)MODEL_RELATED_SOURCES, "all fit");
_Static_assert((int)MODEL_RELATED_ITEMS *(int)MODEL_TRENDING_CATEGORIES + 1 <=
                   (int)MODEL_RELATED_SOURCES,
               "all fit");

/* The newest different items of the window; returns how many. */
static int newest_find(const struct user *user, uint64_t *items)
{
    int n = 0;
    for (int i = user->n_window - 1; i >= 0 && n < MODEL_RELATED_ITEMS; i--) {
        int at = 0;
        while (at < n && items[at] != user->window[i].item)
            at++;
        if (at == n) items[n++] = user->window[i].item;
    }
    return n;
}

/* The lists of the newest items; why[s]: of list s. Returns how many. */
static int related_find(const struct batch *batch, const struct work *work,
                        struct model_related_source *sources, struct work_why *why)
{
    uint64_t items[MODEL_RELATED_ITEMS];
    double weight = 1;
    int n_items = newest_find(work->user, items), n = 0;
    for (int i = 0; i < n_items; i++, weight *= MODEL_RELATED_FADE)
        for (int k = 0; k < KINDS; k++) {
            struct model_related_source source = {.weight = weight};
            source.n = companions_find(batch->env.companions, items[i], kinds[k], &source.list);
            if (source.n == 0) continue;
            why[n] = (struct work_why){.item = items[i], .kind = kinds[k]};
            sources[n++] = source;
        }
    return n;
}

/* Adds the list of a category that is not there yet; returns how many there are. */
static int category_add(const struct batch *batch, const struct work *work, struct str category,
                        double weight, struct model_related_source *sources, struct work_why *why,
                        int n)
{
    const struct event *event = &work->record->event;
    struct model_related_source source;
    double left;
    for (int s = 0; s < n; s++)
        if (str_equal(why[s].category, category)) return n;
    source.n = companions_rising(batch->env.companions, schemas_item_key(event->tenant, category),
                                 event->time_ms, &source.list, &left);
    source.weight = weight * left;
    if (source.n == 0 || !(source.weight > 0)) return n;
    why[n] = (struct work_why){.category = category};
    sources[n] = source;
    return n + 1;
}

/* The lists of the newest items' categories, and that of the whole shop; returns how many. */
static int rising_find(const struct batch *batch, const struct work *work,
                       struct model_related_source *sources, struct work_why *why)
{
    uint64_t items[MODEL_RELATED_ITEMS];
    const struct str *categories;
    double weight = 1;
    int n_items = batch->env.policy ? newest_find(work->user, items) : 0, n = 0;
    for (int i = 0; i < n_items; i++, weight *= MODEL_RELATED_FADE) {
        int n_categories = policy_categories(batch->env.policy, items[i], &categories);
        for (int c = 0; c < n_categories && c < MODEL_TRENDING_CATEGORIES; c++)
            n = category_add(batch, work, categories[c], weight, sources, why, n);
    }
    return category_add(batch, work, STR(""), MODEL_TRENDING_SHOP, sources, why, n);
}

static void arm_note(struct batch *batch, const struct model_related_source *sources,
                     const struct work_why *why, int n_sources,
                     bool (*skip)(void *context, uint64_t key), void *context, struct work_arm *arm)
{
    struct model_related_item found[MODEL_RELATED_MAX];
    int K = batch->depth < MODEL_RELATED_MAX ? batch->depth : MODEL_RELATED_MAX;
    int n = n_sources == 0 ? 0 : model_related(sources, n_sources, K, skip, context, found);
    arm->n = n;
    if (n == 0) return;
    arm->keys = arena_alloc(batch->arena, (size_t)n * sizeof *arm->keys);
    arm->scores = arena_alloc(batch->arena, (size_t)n * sizeof *arm->scores);
    arm->why = arena_alloc(batch->arena, (size_t)n * sizeof *arm->why);
    for (int i = 0; i < n; i++) {
        arm->keys[i] = found[i].key;
        arm->scores[i] = found[i].score;
        arm->why[i] = why[found[i].source];
    }
}

void batch__lists_note(struct batch *batch, struct work *work,
                       bool (*skip)(void *context, uint64_t key), void *context)
{
    const float *weights = batch->env.settings->blend_weights;
    struct model_related_source sources[MODEL_RELATED_SOURCES];
    struct work_why why[MODEL_RELATED_SOURCES];
    if (weights[ARM_RELATED] > 0) {
        int n = related_find(batch, work, sources, why);
        arm_note(batch, sources, why, n, skip, context, &work->related);
    }
    if (weights[ARM_TRENDING] > 0) {
        int n = rising_find(batch, work, sources, why);
        arm_note(batch, sources, why, n, skip, context, &work->trending);
    }
}

static const struct work_why *why_find(const struct work_arm *arm, uint64_t key)
{
    int i = 0;
    while (arm->keys[i] != key)
        i++;
    return &arm->why[i];
}

struct reason batch__related_reason(struct batch *batch, const struct work *work, uint64_t key)
{
    const struct work_why *why = why_find(&work->related, key);
    bool is_order = why->kind == RELATED_BOUGHT_TOGETHER || why->kind == RELATED_ALSO_BOUGHT;
    struct reason reason = {.kind = is_order ? REASON_BOUGHT_TOGETHER : REASON_BECAUSE_VIEWED};
    if (batch->env.settings->reasons_name_items)
        reason.item_id = batch__item_id(batch, work, why->item);
    return reason;
}

struct reason batch__trending_reason(struct batch *batch, const struct work *work, uint64_t key)
{
    struct reason reason = {.kind = REASON_TRENDING};
    if (batch->env.settings->reasons_name_items)
        reason.item_id = why_find(&work->trending, key)->category;
    return reason;
}
