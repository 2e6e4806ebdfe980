/* A store in which something did not read. RocksDB goes on writing around a damaged block (RELIABILITY 4.3: 13 of 2,500 keys
 * failed, writes succeeded), so what can still be read would drift away from what cannot. From the first such error on nothing is
 * written, and the file <folder>/damaged makes every later start refuse: the folder is moved away as a whole, and the store is
 * restored or rebuilt. */
#include "state/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static const char file_name[] = "damaged";

void state__quarantine(struct state *state, const struct err *err)
{
    char path[STATE__PATH_MAX];
    if (state->readonly || !state->ready || flag_test_and_raise(&state->damaged)) return;
    state__path(path, state->folder, file_name);
    FILE *file = fopen(path, "w");
    bool ok = file && fprintf(file, "%s\n", err->text) > 0;
    if (file && fclose(file) != 0) ok = false;
    if (!ok)
        log_warn("state", "that the store is damaged could not be noted in its folder",
                 "file=\"%s\" error=\"%s\"", path, strerror(errno));
}

bool state__check_sound(const struct state *state, struct err *err)
{
    if (!flag_is_raised(&state->damaged)) return true;
    return err_fatal(err, ERR_EXIT_STORE,
                     "state store %s is damaged and is not written any more; move the folder away "
                     "and start again to rebuild it, or restore a backup",
                     state->folder);
}

bool state__check_folder_sound(const char *folder, struct err *err)
{
    char path[STATE__PATH_MAX], found[256] = "";
    state__path(path, folder, file_name);
    FILE *file = fopen(path, "r");
    if (!file) return true;
    if (!fgets(found, sizeof found, file)) found[0] = '\0';
    (void)fclose(file);
    found[strcspn(found, "\n")] = '\0';
    return err_fatal(
        err, ERR_EXIT_STORE,
        "state store %s was found damaged (\"%.200s\"); move the folder away and start "
        "again to rebuild it, or restore a backup with `freshet restore --replace`",
        folder, found);
}
