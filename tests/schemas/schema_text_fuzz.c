/* A schema's text from a registry, then bytes by it: text, a NUL, message. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "schemas/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct err err = ERR_INIT;
    struct program *program = NULL;
    if (!arena) {
        arena = arena_new(64 * 1024, 4 * SCHEMAS_ARENA_MAX);
        log_init(LOG_LOGFMT, LOG_ERROR, "");
    }
    arena_reset(arena);
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    if (!schemas__compile((const char *)data, len, &schemas__target_event, "fuzz", &program,
                          &err)) {
        if (err.class != ERR_DATA || err.text[0] == 0) abort();
        return 0;
    }
    struct event_slots slots;
    struct str bytes = {nul ? (const char *)nul + 1 : NULL, nul ? size - len - 1 : 0};
    if (!schemas__run(program, &schemas__target_event, bytes, arena, &slots, &err) &&
        err.class != ERR_DATA)
        abort();
    if (arena_used(arena) > 2 * SCHEMAS_ARENA_MAX) abort();
    schemas__program_free(program);
    return 0;
}
