/* The heap's counter, and arenas: no two pieces overlap, nothing is allocated once warm, the bound ends the process. */
#include "base/mem.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "tests/test.h"

static uint64_t seed;

static void test_counter(void)
{
    uint64_t before = mem_thread_count();
    void *a = mem_alloc(0);
    unsigned char *b = mem_zalloc(100);
    a = mem_realloc(a, 50);
    void *c = mem_aligned(64, 10);
    char *d = mem_strdup("text");
    char *e = mem_strndup("text", 2);
    CHECK_INT(mem_thread_count() - before, 6);
    CHECK(a != NULL);
    for (int i = 0; i < 100; i++)
        CHECK_INT(b[i], 0);
    CHECK_INT((uintptr_t)c % 64, 0);
    CHECK_STR(d, "text");
    CHECK_STR(e, "te");
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(e);
    mem_free(NULL);
    CHECK_INT(mem_thread_count() - before, 6);
}

enum { PIECES = 200 };

/* Each piece is filled with its number; after all are there each still holds it. */
static void fill_arena(struct arena *arena, struct rng *rng)
{
    unsigned char *piece[PIECES];
    size_t size[PIECES], sum = 0;
    for (int i = 0; i < PIECES; i++) {
        size[i] = (size_t)rng_below(rng, i % 50 == 0 ? 3000 : 100);
        piece[i] = arena_alloc(arena, size[i]);
        CHECK_INT((uintptr_t)piece[i] % 16, 0);
        memset(piece[i], i, size[i]);
        sum += size[i];
    }
    CHECK(arena_used(arena) >= sum);
    for (int i = 0; i < PIECES; i++) {
        for (size_t j = 0; j < size[i]; j++)
            CHECK_INT(piece[i][j], i);
    }
}

static void test_arena(void)
{
    struct rng rng;
    struct arena *arena = arena_new(1024, 1 << 20);
    for (int round = 0; round < 50; round++) {
        rng_init(&rng, seed + (uint64_t)round);
        fill_arena(arena, &rng);
        arena_reset(arena);
        CHECK_INT(arena_used(arena), 0);
    }
    /* The same demand again takes nothing from the heap. */
    rng_init(&rng, seed);
    fill_arena(arena, &rng);
    arena_reset(arena);
    rng_init(&rng, seed);
    uint64_t before = mem_thread_count();
    fill_arena(arena, &rng);
    CHECK_INT(mem_thread_count(), before);
    struct str copy = arena_str(arena, STR("abc"));
    CHECK_STR(copy.ptr, "abc");
    CHECK_INT(copy.len, 3);
    arena_free(arena);
    arena_free(NULL);
}

/* Asking over the bound ends the process by SIGABRT; asking up to it does not. */
static void ask(size_t first, size_t second, bool dies)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        struct arena *arena = arena_new(64, 1024);
        (void)arena_alloc(arena, first);
        (void)arena_alloc(arena, second);
        arena_free(arena);
        _exit(0);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(WIFSIGNALED(status) != 0, dies);
    if (dies) CHECK_INT(WTERMSIG(status), SIGABRT);
}

static void test_bound(void)
{
    ask(512, 512, false);
    ask(512, 528, true);
    ask(0, SIZE_MAX, true);
    ask(16, SIZE_MAX - 8, true);
}

int main(void)
{
    seed = TEST_SEED();
    CASE(test_counter);
    CASE(test_arena);
    CASE(test_bound);
    return 0;
}
