/* Writing into the changelog outside of epochs: rows behind a last marker put right, a store written whole. A producer of its own,
 * without transactions: nobody else writes to the partition, and before the marker nothing of it counts. */
#include <string.h>

#include "app/restore_internal.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

enum { CHUNK = 2000, CHUNK_BYTES = 4 << 20, ARENA_BLOCK = 1 << 18, ARENA_MAX = 64 << 20 };

/* Records that wait to be sent together; keys and values are copies. */
struct chunk {
    struct restore *restore;
    int32_t partition;
    struct emit_copy *copies; /* (CHUNK) */
    int n;
    size_t bytes;
    int64_t records;
    struct arena *arena;
    bool ok;
    struct err *err;
};

static struct chunk chunk_new(struct restore *restore, int32_t partition, struct err *err)
{
    return (struct chunk){.restore = restore,
                          .partition = partition,
                          .copies = mem_zalloc(CHUNK * sizeof(struct emit_copy)),
                          .arena = arena_new(ARENA_BLOCK, ARENA_MAX),
                          .ok = true,
                          .err = err};
}

static void chunk_free(struct chunk *chunk)
{
    mem_free(chunk->copies);
    arena_free(chunk->arena);
}

static void chunk_send(struct chunk *chunk)
{
    if (chunk->ok && chunk->n > 0)
        chunk->ok = emit_copy_send(chunk->restore->copier, chunk->copies, chunk->n, chunk->err);
    chunk->records += chunk->n;
    chunk->n = 0;
    chunk->bytes = 0;
    arena_reset(chunk->arena);
}

/* value ptr NULL: a tombstone. */
static void chunk_add(struct chunk *chunk, struct str key, struct str value)
{
    if (chunk->n == CHUNK || chunk->bytes > CHUNK_BYTES) chunk_send(chunk);
    chunk->copies[chunk->n++] =
        (struct emit_copy){.topic = chunk->restore->env.settings->changelog_topic,
                           .partition = chunk->partition,
                           .key = arena_str(chunk->arena, key),
                           .value = value.ptr ? arena_str(chunk->arena, value) : value};
    chunk->bytes += key.len + value.len;
}

static bool row_add(void *context, const struct state_change *change)
{
    struct chunk *chunk = context;
    chunk_add(chunk, change->key, change->value);
    fault_point("restore_writes");
    return chunk->ok && !restore__is_stopping(chunk->restore);
}

static bool whole_add(struct chunk *chunk)
{
    static const char nothing[1] = "";
    chunk_add(chunk, STATE_RESET_KEY, (struct str){nothing, 0});
    return state_image_each(chunk->restore->env.state, chunk->partition, row_add, chunk,
                            chunk->err) &&
           chunk->ok;
}

/* The store's own rows in place of those that no marker follows. */
static bool torn_add(struct chunk *chunk, const struct restore__job *job)
{
    struct buf value;
    struct str key;
    void *ignored;
    size_t at = 0;
    bool ok = true, found;
    buf_init(&value, 16 << 20);
    while (ok && map_str_next(job->torn, &at, &key, &ignored)) {
        buf_reset(&value);
        ok = state_image_get(chunk->restore->env.state, chunk->partition, key, &value, &found,
                             chunk->err);
        if (ok)
            chunk_add(chunk, key,
                      found ? (struct str){(const char *)value.data, value.len} : (struct str){0});
        ok = ok && chunk->ok;
    }
    buf_fini(&value);
    return ok;
}

/* The last record; *next: the offset behind it. */
static void marker_add(struct chunk *chunk, struct restore__job *job, int64_t *next)
{
    struct buf value;
    buf_init(&value, 1 << 16);
    state_marker_encode(chunk->restore->env.state, job->have, clock_wall_ms(&chunk->restore->clock),
                        &value);
    chunk_add(chunk, STATE_MARKER_KEY, (struct str){(const char *)value.data, value.len});
    const struct emit_copy *marker = &chunk->copies[chunk->n - 1];
    chunk_send(chunk);
    if (chunk->ok) *next = marker->at_offset + 1;
    buf_fini(&value);
}

bool restore__log_write(struct restore *restore, struct restore__job *job, int64_t *next,
                        struct err *err)
{
    if (!restore->copier && !emit_copier_open(&restore->copier, &restore->env.settings->kafka, err))
        return false;
    if (!state_positions_get(restore->env.state, job->partition, job->have, err)) return false;
    if (job->writes)
        log_info("app", "the store is written into the changelog whole", "partition=%d",
                 (int)job->partition);
    struct chunk chunk = chunk_new(restore, job->partition, err);
    bool ok = job->writes ? whole_add(&chunk) : torn_add(&chunk, job);
    ok = ok && !restore__is_stopping(restore);
    if (ok) marker_add(&chunk, job, next);
    ok = ok && chunk.ok;
    (void)sync_int_add(job->writes ? &restore->written : &restore->repaired, chunk.records);
    if (!ok && err->class == ERR_NONE)
        (void)err_set(err, ERR_FATAL, "stopped while the changelog is written");
    chunk_free(&chunk);
    return ok;
}
