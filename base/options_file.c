/* Options from files: the properties file itself, and secrets that stand in files of their own. */
#include "base/options_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/properties.h"

enum {
    FILE_BYTES_MAX = 1 << 20,   /* a properties file */
    SECRET_BYTES_MAX = 1 << 16, /* a secret, such as a PEM chain */
    FILE_KEYS_MAX = 4096,       /* keys in one file */
};

/* "what path: reason of errno". Returns false. */
static bool os_error(struct err *err, const char *what, const char *path)
{
    char reason[128];
    if (strerror_r(errno, reason, sizeof(reason)) != 0) reason[0] = '\0';
    return err_fatal(err, ERR_EXIT_USAGE, "%s %s: %s", what, path, reason);
}

/* Opened first and then looked at, so that what was checked is what is read. private_only: nobody but its owner may have any
 * right on it. NULL with the error. */
static FILE *open_file(const char *path, bool private_only, struct err *err)
{
    struct stat status;
    /* Not blocking: a pipe of that name would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return os_error(err, "cannot open", path), NULL;
    if (fstat(fd, &status) != 0) {
        os_error(err, "cannot look at", path);
    } else if (!S_ISREG(status.st_mode)) {
        err_fatal(err, ERR_EXIT_USAGE, "%s is no regular file", path);
    } else if (private_only && (status.st_mode & 0177) != 0) {
        err_fatal(err, ERR_EXIT_USAGE,
                  "%s holds a secret and has mode %03o; others must not read it: chmod 600 %s",
                  path, (unsigned)(status.st_mode & 0777), path);
    } else {
        FILE *file = fdopen(fd, "rb");
        if (file != NULL) return file;
        os_error(err, "cannot open", path);
    }
    (void)close(fd);
    return NULL;
}

/* The whole file into out; a secret leaves no bytes in the buffers that it went through. */
static bool read_file(const char *path, bool private_only, struct buf *out, struct err *err)
{
    FILE *file = open_file(path, private_only, err);
    uint8_t chunk[4096];
    if (file == NULL) return false;
    (void)setvbuf(file, NULL, _IONBF, 0);
    bool ok = true;
    while (ok) {
        size_t n = fread(chunk, 1, sizeof(chunk), file);
        if (n == 0) break;
        buf_push(out, chunk, n);
        if (out->failed) {
            ok = err_fatal(err, ERR_EXIT_USAGE, "%s is over %zu bytes", path, out->max);
        }
    }
    if (ok && ferror(file)) ok = os_error(err, "cannot read", path);
    (void)fclose(file);
    mem_wipe(chunk, sizeof(chunk));
    return ok;
}

bool options_secret_file_check(const char *path, struct err *err)
{
    FILE *file = open_file(path, true, err);
    if (file != NULL) (void)fclose(file);
    return file != NULL;
}

/* ---- secrets ---- */

/* Wipes what a buffer holds and frees it. It was given its room at once, so that it never moved. */
static void buf_wipe(struct buf *buf)
{
    mem_wipe(buf->data, buf->len);
    buf_fini(buf);
}

/* Appends the secret in the file whose path is `path`. */
static bool push_secret(struct str path, struct buf *out, struct err *err)
{
    char *name = mem_strndup(path.ptr, path.len);
    struct buf content;
    buf_init(&content, SECRET_BYTES_MAX);
    (void)buf_reserve(&content, SECRET_BYTES_MAX);
    bool ok = true;
    if (name[0] != '/') {
        ok = err_fatal(err, ERR_EXIT_USAGE, "${file:%s}: the path must begin with /", name);
    }
    if (ok) ok = read_file(name, true, &content, err);
    if (ok && content.len > 0 && memchr(content.data, 0, content.len) != NULL) {
        ok = err_fatal(err, ERR_EXIT_USAGE, "%s holds a NUL byte", name);
    }
    if (ok) {
        size_t n = content.len;
        /* Editors end a file with a line end that is no part of the secret. */
        if (n > 0 && content.data[n - 1] == '\n') n--;
        if (n > 0 && content.data[n - 1] == '\r') n--;
        buf_push(out, content.data, n);
    }
    buf_wipe(&content);
    mem_free(name);
    return ok;
}

bool options__resolve(const char *text, char **out, struct err *err)
{
    static const char opening[] = "${file:";
    struct buf resolved;
    buf_init(&resolved, FILE_BYTES_MAX);
    if (strstr(text, opening)) (void)buf_reserve(&resolved, strlen(text) + SECRET_BYTES_MAX);
    bool ok = true;
    while (ok) {
        const char *at = strstr(text, opening);
        buf_push(&resolved, text, at == NULL ? strlen(text) : (size_t)(at - text));
        if (at == NULL) break;
        const char *path = at + sizeof(opening) - 1;
        const char *end = strchr(path, '}');
        if (end == NULL) {
            ok = err_fatal(err, ERR_EXIT_USAGE, "${file: has no closing brace");
            break;
        }
        ok = push_secret((struct str){path, (size_t)(end - path)}, &resolved, err);
        text = end + 1;
    }
    if (ok && resolved.failed) ok = err_fatal(err, ERR_EXIT_USAGE, "the value is too long");
    if (ok) *out = mem_strndup(resolved.len ? (const char *)resolved.data : "", resolved.len);
    buf_wipe(&resolved);
    return ok;
}

/* ---- the properties file ---- */

struct loading {
    struct options *options;
    struct map_str *lines; /* key to the line (as a pointer) where it was set */
    const char *path;
};

/* One entry of the file. The line where each key was set is kept, so that a second one can name it. */
static bool load_entry(void *context, const struct properties_entry *entry, struct err *err)
{
    struct loading *loading = context;
    struct str key = str_of(entry->key);
    void *earlier = map_str_get(loading->lines, key);
    if (earlier != NULL) {
        return err_fatal(err, ERR_EXIT_USAGE, "%s:%d: %.80s was already set on line %d; keep one",
                         loading->path, entry->line, entry->key, (int)(intptr_t)earlier);
    }
    if (!map_str_set(loading->lines, key, (void *)(intptr_t)entry->line)) {
        return err_fatal(err, ERR_EXIT_USAGE, "%s:%d: more than %d keys", loading->path,
                         entry->line, FILE_KEYS_MAX);
    }
    char origin[ERR_TEXT_MAX / 2];
    (void)snprintf(origin, sizeof(origin), "%s:%d", loading->path, entry->line);
    return options_set(loading->options, entry->key, entry->value, origin, err);
}

bool options_load_file(struct options *options, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    struct loading loading = {.options = options, .path = path};
    loading.lines = map_str_new(FILE_KEYS_MAX, MAP_KEYS_COPIED);
    bool ok = read_file(path, false, &text, err);
    if (ok) {
        struct str all = {(const char *)text.data, text.len};
        ok = properties_parse(all, path, load_entry, &loading, err);
    }
    map_str_free(loading.lines);
    buf_fini(&text);
    return ok;
}
