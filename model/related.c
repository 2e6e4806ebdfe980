/* The arm of related items: the lists of the newest items, added up. */
#include "model/partners_internal.h"

#include <assert.h>
#include <string.h>

/* At most a third full: 5 items of 4 kinds with 16 partners each. */
enum { SLOTS = 1024 };
_Static_assert(MODEL_RELATED_SOURCES *MODEL_RELATED_PARTNERS * 3 <= SLOTS, "a third full");

/* A candidate met so far. */
struct slot {
    uint64_t key;
    double score, most; /* most: what the strongest source gave */
    int source;         /* that one; -1: the slot is empty */
};

static struct slot *slot_of(struct slot *slots, uint64_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % SLOTS;
    while (slots[at].source >= 0 && slots[at].key != key)
        at = (at + 1) % SLOTS;
    return &slots[at];
}

static void source_add(struct slot *slots, const struct model_related_source *sources, int s)
{
    const struct model_related_source *source = &sources[s];
    int n = source->n < MODEL_RELATED_PARTNERS ? source->n : MODEL_RELATED_PARTNERS;
    for (int i = 0; i < n; i++) {
        struct slot *slot = slot_of(slots, source->list[i].key);
        double part = source->weight * source->list[i].score;
        if (slot->source < 0)
            *slot = (struct slot){.key = source->list[i].key, .most = part, .source = s};
        if (part > slot->most) {
            slot->most = part;
            slot->source = s;
        }
        slot->score += part;
    }
}

int model_related(const struct model_related_source *sources, int n_sources, int K,
                  bool (*skip)(void *context, uint64_t key), void *context,
                  struct model_related_item *out)
{
    struct slot slots[SLOTS];
    struct model_scored best[MODEL_RELATED_MAX];
    int n = 0;
    assert(K >= 1 && K <= MODEL_RELATED_MAX && n_sources <= MODEL_RELATED_SOURCES);
    for (int i = 0; i < SLOTS; i++)
        slots[i].source = -1;
    for (int s = 0; s < n_sources; s++)
        source_add(slots, sources, s);
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].source < 0 || (n == K && slots[i].score < best[K - 1].score)) continue;
        if (skip && skip(context, slots[i].key)) continue;
        model__best_push(best, &n, K, (struct model_scored){slots[i].key, slots[i].score});
    }
    for (int i = 0; i < n; i++)
        out[i] = (struct model_related_item){.key = best[i].key,
                                             .score = (float)best[i].score,
                                             .source = slot_of(slots, best[i].key)->source};
    return n;
}
