/* Encoder states in memory, apart from the users: blocks of S floats for those who have one.
 *
 * A state that is stored goes with its user: it comes with the read and leaves when the user is dropped. A state that is
 * not stored (rebuild_encoders: S is large) can be had from the window at any time, so only a part of the users keeps
 * one: those asked for last, found by a clock (second chance), which costs a flag for each use and no list.
 *
 * When the model changes, S may: a block of another size is given up when its user is next asked for a state. */
#include "state/internal.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK_ALIGN = 64 };

static size_t bytes_of(int floats)
{
    size_t bytes = (size_t)floats * sizeof(float);
    return (bytes + BLOCK_ALIGN) / BLOCK_ALIGN * BLOCK_ALIGN;
}

/* ---- free blocks ---- */

static void free_push(struct encoders *encoders, float *block)
{
    memcpy(block, &encoders->free, sizeof encoders->free);
    encoders->free = block;
}

static float *free_pop(struct encoders *encoders)
{
    float *block = encoders->free;
    if (block) memcpy(&encoders->free, block, sizeof encoders->free);
    return block;
}

bool state__encoders_shrink(struct state_shard *shard)
{
    float *block = free_pop(&shard->encoders);
    if (!block) return false;
    shard->encoders.bytes -= shard->encoders.block_bytes;
    mem_free(block);
    return true;
}

/* ---- holders ---- */

static void holder_add(struct encoders *encoders, struct slot *slot)
{
    encoders->holders = state__grow(encoders->holders, encoders->n_holders, &encoders->cap_holders,
                                    sizeof(struct slot *));
    slot->holder = (uint32_t)encoders->n_holders;
    encoders->holders[encoders->n_holders++] = slot;
}

static void holder_remove(struct encoders *encoders, const struct slot *slot)
{
    struct slot *last = encoders->holders[--encoders->n_holders];
    encoders->holders[slot->holder] = last;
    last->holder = slot->holder;
}

void state__encoder_drop(struct state_shard *shard, struct slot *slot)
{
    struct encoders *encoders = &shard->encoders;
    float *block = slot->user.encoder;
    if (!block) return;
    holder_remove(encoders, slot);
    slot->user.encoder = NULL;
    slot->user.model_id = 0;
    if (slot->floats == encoders->floats) {
        free_push(encoders, block);
        return;
    }
    encoders->bytes -= bytes_of(slot->floats);
    mem_free(block);
}

/* Takes the state of a user who has not asked for it lately; false: all did since the last trim. */
static bool evict(struct state_shard *shard)
{
    struct encoders *encoders = &shard->encoders;
    for (size_t tries = 2 * encoders->n_holders; tries > 0; tries--) {
        if (encoders->hand >= encoders->n_holders) encoders->hand = 0;
        struct slot *slot = encoders->holders[encoders->hand];
        if (slot->encoder_used < encoders->generation && !slot->is_warm) {
            state__encoder_drop(shard, slot); /* the last holder comes to its place */
            return true;
        }
        slot->is_warm = false;
        encoders->hand++;
    }
    return false;
}

/* Another block would be over the bound on states that are not stored, or on the whole cache. */
static bool is_full(const struct state_shard *shard)
{
    const struct encoders *encoders = &shard->encoders;
    return encoders->rebuild &&
           (encoders->bytes + encoders->block_bytes > encoders->limit ||
            state_cache_bytes(shard) + encoders->block_bytes > shard->cache.limit);
}

/* ---- public ---- */

void state__encoders_init(struct state_shard *shard)
{
    const struct state_options *options = &shard->state->options;
    shard->encoders.generation = 1;
    state_shard_model(shard, options->state_floats, options->rebuild_encoders, 0);
}

void state__encoders_fini(struct state_shard *shard)
{
    assert(shard->encoders.n_holders == 0);
    while (state__encoders_shrink(shard))
        continue;
    mem_free(shard->encoders.holders);
}

void state_shard_model(struct state_shard *shard, int state_floats, bool rebuild_encoders,
                       int window_min)
{
    const struct state_options *options = &shard->state->options;
    struct encoders *encoders = &shard->encoders;
    assert(state_floats >= 0);
    while (state_floats != encoders->floats && state__encoders_shrink(shard))
        continue;
    encoders->floats = state_floats;
    encoders->block_bytes = bytes_of(state_floats);
    encoders->rebuild = rebuild_encoders;
    encoders->window_min = window_min;
    encoders->limit =
        rebuild_encoders ? options->cache_bytes / (size_t)options->shards / 4 * 3 : SIZE_MAX;
}

float *state_user_encoder(struct state_shard *shard, struct user *user)
{
    struct encoders *encoders = &shard->encoders;
    struct slot *slot = (struct slot *)(void *)user;
    if (user->encoder && slot->floats != encoders->floats) state__encoder_drop(shard, slot);
    if (!user->encoder) {
        user->model_id = 0;
        if (!encoders->free && is_full(shard)) (void)evict(shard);
        user->encoder = free_pop(encoders);
        if (!user->encoder) {
            user->encoder = mem_aligned(BLOCK_ALIGN, encoders->block_bytes);
            encoders->bytes += encoders->block_bytes;
        }
        slot->floats = encoders->floats;
        holder_add(encoders, slot);
    }
    slot->is_warm = true;
    slot->encoder_used = encoders->generation;
    return user->encoder;
}

void state_encoders_trim(struct state_shard *shard)
{
    struct encoders *encoders = &shard->encoders;
    encoders->generation++;
    while (encoders->bytes > encoders->limit && (encoders->free || evict(shard)))
        (void)state__encoders_shrink(shard);
}
