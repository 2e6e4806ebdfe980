/* RocksDB's MANIFEST, the list of its table files, against what it held when the store was synced.
 *
 * RocksDB takes a record that says to be longer than the rest of the file for one that a crash cut off, and drops it with all that
 * follows. So a changed byte in a record's length opens the store without its newest table files: users are missing while
 * their positions stand, and no checksum says so (found by tests/state/damage_test.c). What was complete at the last sync must be
 * complete at the next start; the high-water file keeps how much that was.
 *
 *   OFFSET  SIZE  MEANING               of a record, in blocks of 32 KiB; what is left of a block under 7 bytes is not used
 *   0       4     checksum (RocksDB compares it)
 *   4       2     length, little-endian
 *   6       1     kind: 1 to 4, or 5 to 8 with 4 bytes more in front of the content; 0 with length 0: nothing up to the block's end
 */
#include "state/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 32 * 1024, HEAD = 7, HEAD_LONG = 11, KIND_LONG = 5, KIND_MAX = 8 };

/* How far whole records go in a block of len bytes. */
static size_t block_walk(const uint8_t *block, size_t len)
{
    size_t at = 0;
    while (len - at >= HEAD) {
        size_t content = (size_t)block[at + 4] | (size_t)block[at + 5] << 8;
        uint8_t kind = block[at + 6];
        size_t head = kind >= KIND_LONG && kind <= KIND_MAX ? HEAD_LONG : HEAD;
        if (kind == 0 && content == 0) return len;
        if (content > len - at || head > len - at - content) return at;
        at += head + content;
    }
    /* The end of a full block has no room for a head. */
    return len == BLOCK ? len : at;
}

/* Bytes of whole records from the file's beginning; -1: it cannot be read. */
static int64_t file_walk(const char *path)
{
    static const int64_t failed = -1;
    uint8_t block[BLOCK];
    int64_t whole = 0;
    size_t n, walked;
    FILE *file = fopen(path, "rb");
    if (!file) return failed;
    do {
        n = fread(block, 1, sizeof block, file);
        walked = block_walk(block, n);
        whole += (int64_t)walked;
    } while (n == sizeof block && walked == n);
    (void)fclose(file);
    return whole;
}

/* The name in db/CURRENT; false: there is none. */
static bool current_name(const char *folder, char name[STATE__MANIFEST_MAX])
{
    char path[STATE__PATH_MAX];
    state__path(path, folder, "db/CURRENT");
    FILE *file = fopen(path, "r");
    bool ok = file && fgets(name, STATE__MANIFEST_MAX, file);
    if (file) (void)fclose(file);
    if (!ok) return false;
    name[strcspn(name, "\n")] = '\0';
    return strncmp(name, "MANIFEST-", 9) == 0 && !strchr(name, '/');
}

static int64_t named_walk(const char *folder, const char *name)
{
    char file[STATE__MANIFEST_MAX + 8], path[STATE__PATH_MAX];
    (void)snprintf(file, sizeof file, "db/%s", name);
    state__path(path, folder, file);
    return file_walk(path);
}

bool state__manifest_now(const char *folder, char name[STATE__MANIFEST_MAX], int64_t *bytes)
{
    if (!current_name(folder, name)) return false;
    *bytes = named_walk(folder, name);
    return *bytes >= 0;
}

bool state__manifest_check(const char *folder, const char *name, int64_t bytes, struct err *err)
{
    char now[STATE__MANIFEST_MAX];
    /* Another file by now, or none: RocksDB says what is wrong, or made a new one. */
    if (!current_name(folder, now) || strcmp(now, name) != 0) return true;
    int64_t whole = named_walk(folder, name);
    if (whole < 0 || whole >= bytes) return true;
    return err_fatal(
        err, ERR_EXIT_STORE,
        "state store %s is damaged: %s reads up to byte %lld, at the last sync it was "
        "%lld; move the folder away and start again to rebuild it, or restore a backup",
        folder, name, (long long)whole, (long long)bytes);
}
