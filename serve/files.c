/* The page's files: compressed once at the start, validated by entity tags. */
#include <assert.h>
#include <stdio.h>
#include <zlib.h>

#include "base/mem.h"
#include "serve/internal.h"

/* FNV-1a (Fowler, Noll, Vo), 64 bits: the tag changes when the file does; nobody gains by a collision. */
static uint64_t hash(const uint8_t *bytes, size_t len)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * 1099511628211u;
    return h;
}

/* NULL: it would not be smaller by a tenth (pictures, fonts). */
static uint8_t *zip(const uint8_t *bytes, size_t len, size_t *zipped_len)
{
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    z_stream stream = {0};
    size_t room = len - len / 10;
    uint8_t *out = mem_alloc(room + 1);
    int code = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
                            Z_DEFAULT_STRATEGY);
    assert(code == Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)len;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    code = deflate(&stream, Z_FINISH);
    *zipped_len = stream.total_out;
    (void)deflateEnd(&stream);
    if (code == Z_STREAM_END) return out;
    mem_free(out);
    return NULL;
}

void serve__files_init(struct serve__files *files, const struct serve_file *table, int n)
{
    files->n = n;
    files->list = mem_zalloc((size_t)n * sizeof *files->list);
    for (int i = 0; i < n; i++) {
        struct serve__file *file = &files->list[i];
        unsigned long long tag = hash(table[i].bytes, table[i].len);
        file->file = &table[i];
        file->zipped = zip(table[i].bytes, table[i].len, &file->zipped_len);
        (void)snprintf(file->etag[0], sizeof file->etag[0], "\"%016llx\"", tag);
        (void)snprintf(file->etag[1], sizeof file->etag[1], "\"%016llx-z\"", tag);
    }
}

void serve__files_fini(struct serve__files *files)
{
    for (int i = 0; i < files->n; i++)
        mem_free(files->list[i].zipped);
    mem_free(files->list);
}

/* ";q=0", with any number of zeros: the client refuses it. */
static bool is_weightless(struct str rest)
{
    size_t i = 0;
    while (i < rest.len && (rest.ptr[i] == ';' || rest.ptr[i] == ' '))
        i++;
    if (rest.len - i < 3 || memcmp(rest.ptr + i, "q=0", 3) != 0) return false;
    for (i += 3; i < rest.len; i++)
        if (rest.ptr[i] >= '1' && rest.ptr[i] <= '9') return false;
    return true;
}

/* Does the comma-separated list name the word, and not refuse it? */
static bool list_has(struct str list, struct str word)
{
    for (size_t at = 0; at < list.len;) {
        const char *from = list.ptr + at, *comma = memchr(from, ',', list.len - at);
        size_t len = comma ? (size_t)(comma - from) : list.len - at;
        at += len + 1;
        while (len && (*from == ' ' || *from == '\t'))
            from++, len--;
        if (len < word.len || memcmp(from, word.ptr, word.len) != 0) continue;
        struct str rest = {from + word.len, len - word.len};
        bool is_end = rest.len == 0 || rest.ptr[0] == ';' || rest.ptr[0] == ' ';
        if (is_end && !is_weightless(rest)) return true;
    }
    return false;
}

static void answer(const struct serve__file *file, struct serve_request *request)
{
    struct str known = serve_header(request, "if-none-match");
    bool as_zip = file->zipped && list_has(serve_header(request, "accept-encoding"), STR("gzip"));
    struct str bytes = {(const char *)file->file->bytes, file->file->len};
    struct str tag = str_of(file->etag[as_zip]);
    serve_reply_header(request, "ETag", tag);
    serve_reply_header(request, "Cache-Control", STR("no-cache"));
    if (file->zipped) serve_reply_header(request, "Vary", STR("Accept-Encoding"));
    if (known.len && (str_equal(known, STR("*")) || list_has(known, tag))) {
        serve_reply_static(request, 304, file->file->type, (struct str){NULL, 0});
        return;
    }
    if (as_zip) {
        serve_reply_header(request, "Content-Encoding", STR("gzip"));
        bytes = (struct str){(const char *)file->zipped, file->zipped_len};
    }
    serve_reply_header(
        request, "Content-Security-Policy",
        STR("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    serve_reply_static(request, 200, file->file->type, bytes);
}

bool serve__files_answer(const struct serve__files *files, struct serve_request *request,
                         struct str path)
{
    for (int i = 0; i < files->n; i++) {
        if (!str_equal(str_of(files->list[i].file->path), path)) continue;
        answer(&files->list[i], request);
        return true;
    }
    return false;
}
