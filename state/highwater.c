/* The high-water file: a copy of the positions outside RocksDB. A damaged or lost log opens silently at an earlier
 * position (RELIABILITY 4.3); that loses nothing while the source still holds the events, but somebody should know.
 *
 *   freshet-high-water 1
 *   manifest <name> <bytes>          how far whole records of RocksDB's MANIFEST went (manifest.c)
 *   <partition> <next> <topic>
 */
#include "state/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static const char head[] = "freshet-high-water 1\n";

enum { NAME_BYTES_MAX = 4200, LINE_BYTES_MAX = 512 };

static void file_name(const struct state *state, const char *suffix, char *out)
{
    (void)snprintf(out, NAME_BYTES_MAX, "%s/high-water%s", state->folder, suffix);
}

/* One by one and not by an iterator: an iterator reads RocksDB's own memory, which a thread checker takes for a race. */
static bool write_lines(struct state *state, FILE *file, struct err *err)
{
    for (int topic = 0; topic < state->n_topics; topic++)
        for (int32_t p = 0; p < state->n_partitions; p++) {
            int64_t next;
            if (!state_position(state, topic, p, &next, err)) return false;
            if (next >= 0)
                (void)fprintf(file, "%" PRId32 " %" PRId64 " %s\n", p, next, state->topics[topic]);
        }
    return true;
}

bool state__highwater_save(struct state *state)
{
    char name[NAME_BYTES_MAX], fresh[NAME_BYTES_MAX], manifest[STATE__MANIFEST_MAX];
    int64_t bytes = 0;
    struct err err = ERR_INIT;
    file_name(state, "", name);
    file_name(state, ".new", fresh);
    FILE *file = fopen(fresh, "w");
    bool ok = file && fputs(head, file) >= 0;
    if (ok && state__manifest_now(state->folder, manifest, &bytes))
        (void)fprintf(file, "manifest %s %" PRId64 "\n", manifest, bytes);
    ok = ok && write_lines(state, file, &err);
    ok = ok && !ferror(file);
    if (file && fclose(file) != 0) ok = false;
    ok = ok && rename(fresh, name) == 0;
    if (ok) return true;
    log_warn("state", "the high-water file was not written; a lost log would go unnoticed",
             "file=\"%s\" error=\"%s\"", name, err.class == ERR_NONE ? strerror(errno) : err.text);
    (void)remove(fresh);
    return false;
}

bool state__highwater_check_manifest(const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX], line[LINE_BYTES_MAX], name[STATE__MANIFEST_MAX];
    long long bytes = 0;
    bool ok = true;
    state__path(path, folder, "high-water");
    FILE *file = fopen(path, "r");
    if (!file) return true;
    if (fgets(line, sizeof line, file) && strcmp(line, head) == 0)
        while (ok && fgets(line, sizeof line, file))
            if (sscanf(line, "manifest %63s %lld", name, &bytes) == 2)
                ok = state__manifest_check(folder, name, (int64_t)bytes, err);
    (void)fclose(file);
    return ok;
}

/* One line against the database; true when the database is behind it. */
static bool is_behind(struct state *state, char *line)
{
    char *rest = NULL;
    long partition = strtol(line, &rest, 10);
    long long next = rest && *rest == ' ' ? strtoll(rest, &rest, 10) : -1;
    if (next < 0 || !rest || *rest != ' ') return false;
    rest[1 + strcspn(rest + 1, "\n")] = '\0';
    struct err err = ERR_INIT;
    for (int i = 0; i < state->n_topics; i++) {
        int64_t here = -1;
        if (strcmp(state->topics[i], rest + 1) != 0) continue;
        if (!state_position(state, i, (int32_t)partition, &here, &err)) return false;
        if (here >= next) return false;
        log_error(
            "state",
            "the store went back: its log was damaged or lost; the events since are read again "
            "if the topic still holds them",
            "topic=%s partition=%ld was=%lld now=%" PRId64, rest + 1, partition, next, here);
        return true;
    }
    return false;
}

int state__highwater_check(struct state *state)
{
    char name[NAME_BYTES_MAX], line[LINE_BYTES_MAX];
    int behind = 0;
    file_name(state, "", name);
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    if (fgets(line, sizeof line, file) && strcmp(line, head) == 0)
        while (fgets(line, sizeof line, file))
            behind += is_behind(state, line);
    (void)fclose(file);
    return behind;
}
