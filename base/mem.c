/* The heap wrapper and arenas. The only file that calls malloc.
 *
 * An arena is a chain of blocks. Bytes come from the current block; when it has no room, the next block that has, or a new
 * one at the end. A reset makes the first block current again and frees nothing:
 *
 *   first            current
 *   [header|used...] -> [header|used...|free] -> [header|kept from before] -> NULL
 *
 * What is left at the end of a block that was too small is not used again before the reset. */
#define _DEFAULT_SOURCE /* explicit_bzero; NOLINT(bugprone-reserved-identifier): the name is libc's */
#include "base/mem.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local uint64_t thread_count;

/* Out of memory ends the process: no caller could do better, and none has to look. */
static void *check(void *ptr, size_t size)
{
    if (!ptr) {
        (void)fprintf(stderr, "level=error area=base msg=\"out of memory\" bytes=%zu\n", size);
        abort();
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    thread_count++;
    return check(malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    thread_count++;
    return check(calloc(1, size ? size : 1), size);
}

void *mem_realloc(void *old, size_t size)
{
    thread_count++;
    return check(realloc(old, size ? size : 1), size);
}

void *mem_aligned(size_t alignment, size_t size)
{
    void *ptr = NULL;
    thread_count++;
    assert(alignment >= sizeof(void *) && (alignment & (alignment - 1)) == 0);
    if (posix_memalign(&ptr, alignment, size ? size : 1) != 0) ptr = NULL;
    check(ptr, size);
    memset(ptr, 0, size);
    return ptr;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_wipe(void *ptr, size_t size)
{
    if (size) explicit_bzero(ptr, size);
}

void mem_free_text(char *secret)
{
    if (secret) mem_wipe(secret, strlen(secret));
    mem_free(secret);
}

void mem_heaps_limit(int n)
{
    (void)mallopt(M_ARENA_MAX, n);
}

uint64_t mem_thread_count(void)
{
    return thread_count;
}

/* ---- arenas ---- */

enum { ARENA_ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* usable bytes behind the header */
    size_t used;
    size_t pad; /* keeps the header a multiple of ARENA_ALIGN */
};

struct arena {
    struct arena_block *first;   /* all blocks, kept over resets */
    struct arena_block *current; /* where the next bytes come from */
    size_t block_bytes;
    size_t max_bytes;
    size_t used; /* since the last reset */
};

/* A block with `size` bytes behind its header, which is a multiple of ARENA_ALIGN, so that the bytes are aligned too. */
static struct arena_block *block_new(size_t size)
{
    struct arena_block *block = mem_aligned(ARENA_ALIGN, sizeof *block + size);
    block->size = size;
    return block;
}

struct arena *arena_new(size_t block_bytes, size_t max_bytes)
{
    struct arena *arena = mem_zalloc(sizeof *arena);
    arena->block_bytes = block_bytes;
    arena->max_bytes = max_bytes;
    arena->first = block_new(block_bytes);
    arena->current = arena->first;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena) return;
    for (struct arena_block *block = arena->first, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    mem_free(arena);
}

/* The next block that has room: one kept from before the reset, or a new one behind the current. */
static struct arena_block *block_with_room(struct arena *arena, size_t size)
{
    struct arena_block *block = arena->current;
    while (block->next) {
        block = block->next;
        block->used = 0;
        if (block->size >= size) return block;
    }
    block->next = block_new(size > arena->block_bytes ? size : arena->block_bytes);
    return block->next;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    /* Looked at before rounding, which could wrap. */
    if (size > arena->max_bytes || arena->used > arena->max_bytes - size) {
        (void)fprintf(
            stderr,
            "level=error area=base msg=\"arena over its bound\" used=%zu more=%zu max=%zu\n",
            arena->used, size, arena->max_bytes);
        abort();
    }
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena->used += size;
    if (arena->current->size - arena->current->used < size)
        arena->current = block_with_room(arena, size);
    char *ptr = (char *)(arena->current + 1) + arena->current->used;
    arena->current->used += size;
    return ptr;
}

struct str arena_str(struct arena *arena, struct str bytes)
{
    char *copy = arena_alloc(arena, bytes.len + 1);
    if (bytes.len) memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    return (struct str){copy, bytes.len};
}

void arena_reset(struct arena *arena)
{
    arena->current = arena->first;
    arena->current->used = 0;
    arena->used = 0;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
