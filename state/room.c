#include "state/room.h"

#include <string.h>
#include <sys/statvfs.h>

/* Below this RocksDB opens only to fail. */
#define ROOM_MIN_BYTES ((uint64_t)4 << 20)

/* Bytes that this user may still write to the folder's disk; UINT64_MAX when the system does not say. */
static uint64_t left_on(const char *folder)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) != 0) return UINT64_MAX; /* what follows says why */
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* The bytes themselves in the log and in a file, and memtables that are written out. */
static uint64_t wanted_for(const struct state__room *room, size_t bytes)
{
    return ROOM_MIN_BYTES + room->memory + 2 * (uint64_t)bytes;
}

/* A LOG that does not roll takes the lines of RocksDB's start for INFO, which is below the level; one that rolls takes them all. */
void state__room_set(rocksdb_options_t *options)
{
    enum { HEADER_LEVEL = 5, FILES = 2 };
    rocksdb_options_set_info_log_level(options, HEADER_LEVEL);
    rocksdb_options_set_max_log_file_size(options, 0);
    rocksdb_options_set_log_file_time_to_roll(options, 0);
    rocksdb_options_set_keep_log_file_num(options, FILES);
}

/* what: "a start"; then: what happens when room is made. */
static bool check(const struct state__room *room, size_t bytes, const char *what, const char *then,
                  struct err *err)
{
    uint64_t left = left_on(room->folder), wanted = wanted_for(room, bytes);
    if (left >= wanted) return true;
    return err_set(err, ERR_RETRY,
                   "%s %s: the disk is full, %llu KiB are left and %s needs %llu: make room%s",
                   room->what, room->folder, (unsigned long long)(left >> 10), what,
                   (unsigned long long)(wanted >> 10), then);
}

bool state__room_begin(const struct state__room *room, struct err *err)
{
    if (check(room, 0, "a start", " and start again; nothing is lost", err)) return true;
    err->class = ERR_FATAL;
    err->exit_code = ERR_EXIT_DISK;
    return false;
}

bool state__room_check(const struct state__room *room, size_t bytes, struct err *err)
{
    return check(room, bytes, "a write", ", freshet goes on by itself", err);
}

bool state__room_check_log(const struct state__room *room, struct err *err)
{
    if (!flag_is_raised(&room->is_log_broken)) return true;
    return err_set(err, ERR_RETRY,
                   "%s %s: the disk is full: the next write that finds room goes first", room->what,
                   room->folder);
}

bool state__room_check_flush(const struct state__room *room, struct err *err)
{
    return state__room_check_log(room, err) && state__room_check(room, 0, err);
}

bool state__room_is_full(const char *error)
{
    return strstr(error, "No space left") || strstr(error, "Disk quota exceeded");
}

void state__room_written(struct state__room *room, const char *error)
{
    if (error && state__room_is_full(error))
        flag_raise(&room->is_log_broken);
    else if (!error && flag_is_raised(&room->is_log_broken))
        flag_lower(&room->is_log_broken);
}
