/* Backups of a store: taken, checked, put back. */
#include "state/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/internal.h"

static const char head[] = "freshet-backup 1\n";

enum { MANIFEST_MAX = 64 << 20, LINE_MAX_BYTES = 1024 };

/* ---- a running store ---- */

bool state_checkpoint(struct state *state, const char *name, struct err *err)
{
    char path[STATE__PATH_MAX], *error = NULL;
    state__path(path, state->folder, name);
    if (!state__room_check_flush(&state->room, err)) return false;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(state->db, &error);
    /* The log is copied rather than every table flushed: shorter, and writes go on. */
    if (!error) rocksdb_checkpoint_create(checkpoint, path, UINT64_MAX, &error);
    if (checkpoint) rocksdb_checkpoint_object_destroy(checkpoint);
    return !error || state__rocksdb_error(state, error, "making a checkpoint", err);
}

/* ---- the manifest ---- */

/* XXH3-64 of a file's bytes. */
bool state__file_hash(const char *path, uint64_t *hash, uint64_t *size)
{
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = file >= 0 && fstat(file, &info) == 0;
    if (ok && info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        ok = bytes != MAP_FAILED;
        if (ok) *hash = schemas_id_hash((struct str){bytes, (size_t)info.st_size});
        if (ok) (void)munmap(bytes, (size_t)info.st_size);
    } else if (ok) {
        *hash = schemas_id_hash((struct str){NULL, 0});
    }
    if (ok) *size = (uint64_t)info.st_size;
    if (file >= 0) (void)close(file);
    return ok;
}

struct writing {
    const char *from, *to; /* databases */
    struct buf manifest;
    struct state_backup *backup;
    struct err *err;
};

/* RocksDB's text logs and the lock are no part of the database. */
bool state__file_is_data(const char *name)
{
    return strncmp(name, "LOG", 3) != 0 && strcmp(name, "LOCK") != 0;
}

static bool file_take(void *context, const char *name)
{
    struct writing *writing = context;
    char from[STATE__PATH_MAX], to[STATE__PATH_MAX];
    uint64_t hash = 0, size = 0;
    if (!state__file_is_data(name)) return true;
    state__path(from, writing->from, name);
    state__path(to, writing->to, name);
    if (!state__file_copy(from, to, writing->err)) return false;
    if (!state__file_hash(to, &hash, &size))
        return err_fatal(writing->err, ERR_EXIT_DISK, "cannot read %s: %s", to, strerror(errno));
    state__backup_file(&writing->manifest, writing->backup,
                       &(struct state__file){name, size, hash});
    return true;
}

void state__backup_begin(struct buf *manifest)
{
    buf_init(manifest, MANIFEST_MAX);
    buf_push_text(manifest, head);
}

void state__backup_file(struct buf *manifest, struct state_backup *backup,
                        const struct state__file *file)
{
    buf_push_format(manifest, "file %" PRIu64 " %016" PRIx64 " %s\n", file->size, file->hash,
                    file->name);
    backup->n_files++;
    backup->bytes += file->size;
}

bool state__backup_end(struct buf *manifest, const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX];
    state__path(path, folder, "manifest");
    uint64_t hash = schemas_id_hash((struct str){(const char *)manifest->data, manifest->len});
    buf_push_format(manifest, "end %016" PRIx64 "\n", hash);
    if (manifest->failed) return err_set(err, ERR_FATAL, "the manifest is too long");
    FILE *file = fopen(path, "wx");
    bool ok = file && fwrite(manifest->data, 1, manifest->len, file) == manifest->len &&
              fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (!ok) (void)err_fatal(err, ERR_EXIT_DISK, "cannot write %s: %s", path, strerror(errno));
    if (file) (void)fclose(file);
    return ok && state__folder_sync(folder, err);
}

/* ---- what is in it ---- */

struct noting {
    struct buf *manifest;
    struct state_backup *backup;
};

static bool see_position(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct noting *noting = context;
    struct state_backup *backup = noting->backup;
    backup->positions =
        mem_realloc(backup->positions, (backup->n_positions + 1) * sizeof *backup->positions);
    struct state_backup_position *position = &backup->positions[backup->n_positions++];
    *position = (struct state_backup_position){.partition = partition, .next = next};
    (void)snprintf(position->topic, sizeof position->topic, "%s", topic);
    buf_push_format(noting->manifest, "position %d %" PRId64 " %s\n", (int)partition, next, topic);
    return true;
}

bool state__backup_owner(struct buf *manifest, struct state *state, int64_t now_ms,
                         struct state_backup *backup, struct err *err)
{
    struct noting noting = {manifest, backup};
    bool ok = state__identity_read(state, backup, err);
    backup->taken_ms = now_ms;
    buf_push_format(
        manifest, "taken %" PRId64 "\nformat %d\napplication %s\ncluster %s\npartitions %d\n",
        now_ms, backup->format, backup->application_id, backup->cluster_id, backup->n_partitions);
    for (int i = 0; i < backup->n_topics; i++)
        buf_push_format(manifest, "topic %s\n", backup->topics[i]);
    return ok && state_positions_each(state, see_position, &noting, err);
}

static bool see_user(void *context, int32_t partition, struct str key, const struct user *user)
{
    (void)context;
    (void)partition;
    (void)key;
    (void)user;
    return true;
}

static bool see_item(void *context, int32_t partition, struct str tenant, uint64_t key,
                     struct str id, double level)
{
    (void)context;
    (void)partition;
    (void)tenant;
    (void)key;
    (void)id;
    (void)level;
    return true;
}

/* Opens the copy as a store, reads all of it, and notes what it is. */
static bool contents_note(struct writing *writing, const char *folder, int64_t now_ms,
                          struct err *err)
{
    struct state *state;
    if (!state_open_readonly(&state, folder, err)) return false;
    bool ok = state__backup_owner(&writing->manifest, state, now_ms, writing->backup, err) &&
              state_users_each(state, see_user, NULL, err) &&
              state_items_each(state, see_item, NULL, err);
    state_close(state);
    return ok;
}

/* Files, then what is in them, then the manifest: without it the folder is no backup. */
static bool backup_fill(struct writing *writing, const char *folder, int64_t now_ms,
                        struct err *err)
{
    struct buf files = {0};
    if (!state__folder_each(writing->from, file_take, writing, err)) return false;
    files = writing->manifest;
    state__backup_begin(&writing->manifest);
    bool ok = contents_note(writing, folder, now_ms, err);
    buf_push(&writing->manifest, files.data + sizeof head - 1, files.len - (sizeof head - 1));
    buf_fini(&files);
    return ok && state__backup_end(&writing->manifest, folder, err);
}

bool state_backup_write(const char *from, const char *to, int64_t now_ms,
                        struct state_backup *backup, struct err *err)
{
    char partial[STATE__PATH_MAX], db[STATE__PATH_MAX];
    struct stat info;
    struct writing writing = {.from = from, .to = db, .backup = backup, .err = err};
    *backup = (struct state_backup){0};
    if (stat(to, &info) == 0)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s is there already: name a new folder for each backup", to);
    (void)snprintf(partial, sizeof partial, "%.*s.partial", STATE__PATH_MAX / 2, to);
    state__path(db, partial, "db");
    if (stat(partial, &info) == 0)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "%s is left of a backup that was cut off: remove it, or name another folder", partial);
    if (!state__folder_make(partial, err)) return false;
    if (!state__folder_make(db, err)) return false;
    state__backup_begin(&writing.manifest);
    bool ok = backup_fill(&writing, partial, now_ms, err);
    buf_fini(&writing.manifest);
    if (!ok) return false;
    if (rename(partial, to) == 0) return true;
    return err_fatal(err, ERR_EXIT_DISK, "cannot rename %s to %s: %s", partial, to,
                     strerror(errno));
}

void state_backup_fini(struct state_backup *backup)
{
    mem_free(backup->positions);
    *backup = (struct state_backup){0};
}

/* ---- reading a manifest ---- */

/* The whole file, NUL behind it. */
static bool manifest_read(const char *folder, struct buf *text, struct err *err)
{
    char path[STATE__PATH_MAX];
    uint8_t *room;
    size_t n = 1;
    state__path(path, folder, "manifest");
    FILE *file = fopen(path, "r");
    if (!file)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "no backup in %s (%s): name a folder that `freshet backup` made, not one "
                         "inside or above it",
                         folder, strerror(errno));
    while (n > 0 && (room = buf_reserve(text, 65536)) != NULL) {
        n = fread(room, 1, 65535, file);
        text->len += n;
    }
    (void)fclose(file);
    buf_push_byte(text, 0);
    text->len--;
    return !text->failed || err_fatal(err, ERR_EXIT_STORE, "%s is too long", path);
}

struct reading {
    struct state_backup *backup;
    bool (*visit)(void *context, const struct state__file *file); /* NULL: nobody asks */
    void *context;
    bool is_ended; /* visit has had enough */
};

/* "key rest" into out. */
static bool text_line(const char *line, const char *key, char *out)
{
    size_t len = strlen(key);
    if (strncmp(line, key, len) != 0 || strlen(line + len) >= STATE_BACKUP_NAME_MAX) return false;
    (void)snprintf(out, STATE_BACKUP_NAME_MAX, "%s", line + len);
    return true;
}

static bool position_line(struct state_backup *backup, const char *line)
{
    int partition, at = 0;
    long long next;
    if (sscanf(line, "position %d %lld %n", &partition, &next, &at) != 2 || at == 0) return false;
    if (partition < 0 || next < 0 || strlen(line + at) >= STATE_BACKUP_NAME_MAX) return false;
    backup->positions =
        mem_realloc(backup->positions, (backup->n_positions + 1) * sizeof *backup->positions);
    struct state_backup_position *position = &backup->positions[backup->n_positions++];
    *position = (struct state_backup_position){.partition = partition, .next = next};
    (void)snprintf(position->topic, sizeof position->topic, "%s", line + at);
    return true;
}

static bool file_line(struct reading *reading, const char *line)
{
    char name[STATE_BACKUP_NAME_MAX];
    unsigned long long size, hash;
    int at = 0;
    if (sscanf(line, "file %llu %llx %n", &size, &hash, &at) != 2 || at == 0) return false;
    if (strchr(line + at, '/') || !text_line(line + at, "", name)) return false;
    reading->backup->n_files++;
    reading->backup->bytes += size;
    const struct state__file file = {name, size, hash};
    if (reading->visit) reading->is_ended = !reading->visit(reading->context, &file);
    return true;
}

static bool line_read(struct reading *reading, const char *line)
{
    struct state_backup *backup = reading->backup;
    long long taken;
    if (sscanf(line, "taken %lld", &taken) == 1) {
        backup->taken_ms = taken;
        return true;
    }
    if (backup->n_topics < STATE_BACKUP_TOPICS_MAX &&
        text_line(line, "topic ", backup->topics[backup->n_topics])) {
        backup->n_topics++;
        return true;
    }
    return sscanf(line, "format %d", &backup->format) == 1 ||
           sscanf(line, "partitions %d", &backup->n_partitions) == 1 ||
           text_line(line, "application ", backup->application_id) ||
           text_line(line, "cluster ", backup->cluster_id) || position_line(backup, line) ||
           file_line(reading, line);
}

/* The last line is the hash of all before it. */
static bool end_check(char *text, size_t len)
{
    enum { END_BYTES = 21 }; /* "end ", 16 digits, the line's end */
    char want[END_BYTES + 1];
    if (len < sizeof head + END_BYTES || strncmp(text, head, sizeof head - 1) != 0) return false;
    char *end = text + len - END_BYTES;
    uint64_t hash = schemas_id_hash((struct str){text, (size_t)(end - text)});
    (void)snprintf(want, sizeof want, "end %016" PRIx64 "\n", hash);
    if (strcmp(end, want) != 0) return false;
    *end = '\0';
    return true;
}

bool state__backup_read(const char *folder, struct state_backup *backup,
                        bool (*visit)(void *context, const struct state__file *file), void *context,
                        struct err *err)
{
    struct reading reading = {.backup = backup, .visit = visit, .context = context};
    struct buf text;
    *backup = (struct state_backup){0};
    buf_init(&text, MANIFEST_MAX);
    bool ok = manifest_read(folder, &text, err);
    if (ok && !end_check((char *)text.data, text.len))
        ok = err_fatal(err, ERR_EXIT_STORE, "%s/manifest is damaged: use another backup", folder);
    char *line = ok ? (char *)text.data + sizeof head - 1 : NULL;
    while (ok && *line && !reading.is_ended) {
        char *end = line + strcspn(line, "\n");
        if (*end) *end++ = '\0';
        if (!line_read(&reading, line))
            ok = err_fatal(err, ERR_EXIT_STORE,
                           "%s/manifest has a line that this freshet does not know (%.60s): "
                           "was the backup taken by a newer one?",
                           folder, line);
        line = end;
    }
    buf_fini(&text);
    if (!ok) state_backup_fini(backup);
    return ok;
}

bool state__file_check(const char *db, const struct state__file *file, struct err *err)
{
    char path[STATE__PATH_MAX];
    uint64_t size = 0, hash = 0;
    const char *why = NULL;
    state__path(path, db, file->name);
    if (!state__file_hash(path, &hash, &size))
        why = "is missing";
    else if (size != file->size)
        why = "has another size than when it was taken";
    else if (hash != file->hash)
        why = "has other bytes than when it was taken";
    return !why || err_fatal(err, ERR_EXIT_STORE, "%s %s: use another backup", path, why);
}

struct checking {
    const char *db;
    struct err *err;
};

static bool file_check(void *context, const struct state__file *file)
{
    const struct checking *checking = context;
    return state__file_check(checking->db, file, checking->err);
}

bool state_backup_check(const char *folder, struct state_backup *backup, struct err *err)
{
    char db[STATE__PATH_MAX];
    struct checking checking = {db, err};
    state__path(db, folder, "db");
    if (!state__backup_read(folder, backup, file_check, &checking, err)) return false;
    if (err->class == ERR_NONE) return true;
    state_backup_fini(backup);
    return false;
}

/* ---- putting back ---- */

struct restoring {
    const char *from, *to; /* databases */
    struct err *err;
};

static bool file_restore(void *context, const char *name)
{
    struct restoring *restoring = context;
    char from[STATE__PATH_MAX], to[STATE__PATH_MAX];
    if (!state__file_is_data(name)) return true;
    state__path(from, restoring->from, name);
    state__path(to, restoring->to, name);
    return state__file_copy(from, to, restoring->err);
}

/* The high-water file goes: it is of the store that was there before. */
bool state_backup_restore(const char *backup, const char *folder, struct err *err)
{
    char from[STATE__PATH_MAX], fresh[STATE__PATH_MAX], path[STATE__PATH_MAX];
    struct restoring restoring = {from, fresh, err};
    state__path(from, backup, "db");
    state__path(fresh, folder, "db.restoring");
    if (!state__make_folders(folder, err) || !state__folder_remove(fresh, err)) return false;
    if (!state__folder_make(fresh, err) || !state__folder_each(from, file_restore, &restoring, err))
        return false;
    state__path(path, folder, "high-water");
    (void)unlink(path);
    state__path(path, folder, "db");
    if (!state__folder_sync(fresh, err)) return false;
    if (rename(fresh, path) != 0)
        return err_fatal(err, ERR_EXIT_DISK, "cannot rename %s to %s: %s", fresh, path,
                         strerror(errno));
    return state__folder_sync(folder, err);
}
