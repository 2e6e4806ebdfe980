/* Text files beside the store: a backup's manifest, the high-water file, RocksDB's CURRENT and MANIFEST as freshet reads them. Any bytes
 * are read or refused with exit 3. The first byte chooses the file; a manifest gets the hash of its last line here, since nothing else
 * would come behind the check of it. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "state/backup.h"
#include "tests/state/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = 256, BYTES_MAX = 1 << 16 };

static char folder[128];
static struct state *state;

static void folder_remove(void)
{
    state_close(state);
    fixture_remove(folder);
}

static void start(void)
{
    struct state_options options = fixture_options();
    if (folder[0]) return;
    log_init(LOG_LOGFMT, LOG_ERROR + 1, "");
    fixture_folder(folder, sizeof folder);
    state = fixture_open(folder, &options);
    if (atexit(folder_remove) != 0) abort();
}

static void file_write(const char *name, struct str text)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(text.ptr, 1, text.len, file) != text.len || fclose(file) != 0) abort();
}

static void manifest(struct str text)
{
    struct state_backup backup;
    struct err err = ERR_INIT;
    struct buf whole;
    buf_init(&whole, BYTES_MAX + PATH_BYTES);
    buf_push_text(&whole, "freshet-backup 1\n");
    buf_push_str(&whole, text);
    uint64_t hash = schemas_id_hash((struct str){(const char *)whole.data, whole.len});
    buf_push_format(&whole, "end %016" PRIx64 "\n", hash);
    file_write("manifest", (struct str){(const char *)whole.data, whole.len});
    buf_fini(&whole);
    if (!state_backup_check(folder, &backup, &err)) {
        if (err.exit_code != ERR_EXIT_STORE || err.text[0] == '\0') abort();
        return;
    }
    if (backup.n_topics > STATE_BACKUP_TOPICS_MAX) abort();
    for (size_t i = 0; i < backup.n_positions; i++)
        if (backup.positions[i].partition < 0 || backup.positions[i].next < 0) abort();
    state_backup_fini(&backup);
}

/* Not the store's own, which is in use. */
static void high_water(struct str text)
{
    struct err err = ERR_INIT;
    file_write("high-water", text);
    if (!state__highwater_check_manifest(folder, &err) && err.exit_code != ERR_EXIT_STORE) abort();
    (void)state__highwater_check(state);
}

static void rocksdb(struct str text)
{
    char other[PATH_BYTES], path[PATH_BYTES + 8], name[STATE__MANIFEST_MAX];
    struct err err = ERR_INIT;
    int64_t bytes = 0;
    const char *end = memchr(text.ptr, '\n', text.len);
    size_t len = end ? (size_t)(end + 1 - text.ptr) : text.len;
    (void)snprintf(other, sizeof other, "%s/other", folder);
    (void)snprintf(path, sizeof path, "%s/db", other);
    if (!state__make_folders(path, &err)) abort();
    file_write("other/db/CURRENT", (struct str){text.ptr, len});
    file_write("other/db/MANIFEST-1", (struct str){text.ptr + len, text.len - len});
    if (!state__manifest_now(other, name, &bytes)) return;
    if (bytes < 0 || (size_t)bytes > text.len) abort();
    if (!state__manifest_check(other, name, bytes, &err)) abort();
    if (state__manifest_check(other, name, bytes + 1, &err)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > BYTES_MAX) return 0;
    start();
    struct str text = {(const char *)data + 1, size - 1};
    switch (data[0] % 3) {
    case 0:
        manifest(text);
        break;
    case 1:
        high_water(text);
        break;
    default:
        rocksdb(text);
    }
    return 0;
}
