/* Blend of arms: their candidates met once each, and weighted reciprocal rank fusion.
 *
 * A small table of the keys met so far (open addressing, on the stack) makes a blend linear in the
 * number of candidates; the K best are then kept by insertion, K being tens. */

#include "model/internal.h"

#include <assert.h>

enum {
    RANK_OFFSET =
        60, /* the constant of Cormack, Clarke, Buettcher 2009: it damps the first ranks */
    SLOTS = 2 * MODEL_MAX_CANDIDATES,
};

/* The slot that holds this key or the empty one where it belongs. slot: index into met + 1, 0 empty. */
static uint16_t *find_slot(uint16_t *slot, const struct model__met *met, uint64_t key)
{
    uint64_t i = (key * 0x9E3779B97F4A7C15u) >> 40;
    for (;; i++) {
        uint16_t *at = &slot[i % SLOTS];
        if (*at == 0 || met[*at - 1].key == key) return at;
    }
}

int model__candidates_meet(const struct model_candidates *arms, int n_arms, struct model__met *met)
{
    uint16_t slot[SLOTS] = {0};
    int n = 0;
    assert(n_arms <= ARM_COUNT + 1);
    for (int a = 0; a < n_arms; a++) {
        for (int rank = 1; rank <= arms[a].n; rank++) {
            uint64_t key = arms[a].keys[rank - 1];
            uint16_t *at = find_slot(slot, met, key);
            if (*at == 0) {
                assert(n < MODEL_MAX_CANDIDATES);
                met[n] = (struct model__met){.key = key};
                *at = (uint16_t)++n;
            }
            met[*at - 1].rank[a] = (uint16_t)rank;
        }
    }
    return n;
}

int model__best_keep(struct model_blended *best, int n, int K, struct model_blended one)
{
    int at = n;
    while (at > 0 && one.score > best[at - 1].score)
        at--;
    if (at >= K) return n;
    if (n < K) n++;
    for (int j = n - 1; j > at; j--)
        best[j] = best[j - 1];
    best[at] = one;
    return n;
}

int model_blend(const struct model_candidates *arms, const float *weights, int n_arms, int K,
                struct model_blended *out)
{
    struct model__met met[MODEL_MAX_CANDIDATES];
    int n = model__candidates_meet(arms, n_arms, met), kept = 0;
    for (int i = 0; i < n; i++) {
        struct model_blended one = {.key = met[i].key};
        for (int a = 0; a < n_arms; a++) {
            if (met[i].rank[a] == 0) continue;
            one.score += weights[a] / (float)(RANK_OFFSET + met[i].rank[a]);
            one.arms |= UINT32_C(1) << a;
        }
        kept = model__best_keep(out, kept, K, one);
    }
    return kept;
}
