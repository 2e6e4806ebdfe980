#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Heap memory that never fails (out of memory ends the process, with one line), and arenas.
 *
 * Every heap call of freshet goes through here, so that a test can count them: the counter of the calling thread is
 * mem_thread_count(). */

void *mem_alloc(size_t size);  /* uninitialised; size 0 gives a unique pointer */
void *mem_zalloc(size_t size); /* zeroed */
void *mem_realloc(void *old, size_t size);
void *
mem_aligned(size_t alignment,
            size_t size); /* zeroed; alignment a power of two, at least 8; mem_free frees it */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len); /* adds the NUL */
void mem_free(void *ptr);                        /* NULL is fine */

/* Zeroes bytes that held a secret; the compiler does not leave it out, as it may a memset before a free. */
void mem_wipe(void *ptr, size_t size);
/* Wipes a text up to its NUL and frees it; NULL is fine. */
void mem_free_text(char *secret);

/* At most n heaps of malloc (n > 0), for all threads and libraries of the process. Call it before threads are started. glibc makes
 * up to eight for each core and a thread keeps to one, so what the consumer's thread frees is of no use to the producer's. */
void mem_heaps_limit(int n);

/* Calls of mem_alloc, mem_zalloc, mem_realloc, mem_aligned and mem_str*dup made so far by this thread. */
uint64_t mem_thread_count(void);

/* An arena gives out memory that is freed all at once. Blocks are kept over a reset, so that after the first batches no
 * heap call happens any more. Thread: one owner at a time. */
struct arena;

/* max_bytes: asking for more than that between two resets ends the process: it is a bound that the caller's own
 * limits must make unreachable. */
struct arena *arena_new(size_t block_bytes, size_t max_bytes);
void arena_free(struct arena *arena);
/* Uninitialised, aligned to 16; lives until the next reset or free. */
void *arena_alloc(struct arena *arena, size_t size);
/* A copy of the bytes, NUL added behind them (not counted in len). */
struct str arena_str(struct arena *arena, struct str bytes);
void arena_reset(struct arena *arena);
size_t arena_used(const struct arena *arena); /* bytes given out since the last reset */

#endif
