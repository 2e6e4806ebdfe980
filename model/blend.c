/* Blend of arms: weighted reciprocal rank fusion.
 *
 * A small table of the keys met so far (open addressing, on the stack) makes a blend linear in the
 * number of candidates; the K best are then kept by insertion, K being tens. */

#include "model/model.h"

#include <assert.h>

enum {
    RANK_OFFSET =
        60, /* the constant of Cormack, Clarke, Buettcher 2009: it damps the first ranks */
    SLOTS = 2 * MODEL_MAX_CANDIDATES,
};

/* The slot that holds this key or the empty one where it belongs. slot: index into met + 1, 0 empty. */
static uint16_t *find_slot(uint16_t *slot, const struct model_blended *met, uint64_t key)
{
    uint64_t i = (key * 0x9E3779B97F4A7C15u) >> 40;
    for (;; i++) {
        uint16_t *at = &slot[i % SLOTS];
        if (*at == 0 || met[*at - 1].key == key) return at;
    }
}

/* Sums each key's share of every arm. met written in the order of first meeting; returns how many. */
static int sum_ranks(const struct model_candidates *arms, const float *weights, int n_arms,
                     struct model_blended *met)
{
    uint16_t slot[SLOTS] = {0};
    int n = 0;
    for (int a = 0; a < n_arms; a++) {
        for (int rank = 1; rank <= arms[a].n; rank++) {
            uint64_t key = arms[a].keys[rank - 1];
            uint16_t *at = find_slot(slot, met, key);
            if (*at == 0) {
                assert(n < MODEL_MAX_CANDIDATES);
                met[n] = (struct model_blended){.key = key};
                *at = (uint16_t)++n;
            }
            met[*at - 1].score += weights[a] / (float)(RANK_OFFSET + rank);
            met[*at - 1].arms |= UINT32_C(1) << a;
        }
    }
    return n;
}

int model_blend(const struct model_candidates *arms, const float *weights, int n_arms, int K,
                struct model_blended *out)
{
    struct model_blended met[MODEL_MAX_CANDIDATES];
    int n = sum_ranks(arms, weights, n_arms, met);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        /* Strictly greater moves up, so equal scores keep the order of meeting. */
        int at = kept;
        while (at > 0 && met[i].score > out[at - 1].score)
            at--;
        if (at >= K) continue;
        if (kept < K) kept++;
        for (int j = kept - 1; j > at; j--)
            out[j] = out[j - 1];
        out[at] = met[i];
    }
    return kept;
}
