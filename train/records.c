/* A file, plain or gzip, cut into records (lines, or CSV records with quoted line ends) and fields. */
#include "train/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"

enum { CHUNK = 1 << 16 };

struct train__records {
    gzFile file;
    char *path;
    double size; /* bytes on disk */
    bool quoted;
    char delimiter; /* of the fields; matters when quoted */
    bool ended;
    char chunk[CHUNK];
    size_t at, have; /* unread bytes are chunk[at .. have) */
    struct buf text;
    uint64_t line;      /* of the record */
    uint64_t next_line; /* of the byte at `at` */
};

bool train__records_open(struct train__records **records, const char *path, bool quoted,
                         struct err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_fatal(err, ERR_EXIT_USAGE, "%s: cannot open: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_fatal(err, ERR_EXIT_USAGE, "%s: is a folder; a log file is expected", path);
    gzFile file = gzopen(path, "rb");
    if (!file) return err_fatal(err, ERR_EXIT_USAGE, "%s: cannot open: %s", path, strerror(errno));
    struct train__records *r = mem_zalloc(sizeof *r);
    r->file = file;
    r->path = mem_strdup(path);
    r->size = (double)st.st_size;
    r->quoted = quoted;
    r->delimiter = ',';
    r->next_line = 1;
    buf_init(&r->text, quoted ? TRAIN__QUOTED_MAX : TRAIN__RECORD_MAX);
    *records = r;
    return true;
}

void train__records_close(struct train__records *records)
{
    if (!records) return;
    (void)gzclose(records->file);
    buf_fini(&records->text);
    mem_free(records->path);
    mem_free(records);
}

/* Fills the chunk. false: the end (err untouched) or a damaged file. */
static bool refill(struct train__records *r, struct err *err)
{
    int n = gzread(r->file, r->chunk, CHUNK);
    r->at = 0;
    r->have = n > 0 ? (size_t)n : 0;
    if (n > 0) return true;
    int code = Z_OK;
    const char *text = gzerror(r->file, &code);
    r->ended = true;
    if (code == Z_OK || code == Z_STREAM_END) return false;
    if (code == Z_ERRNO) text = strerror(errno);
    return err_fatal(err, ERR_EXIT_USAGE, "%s:%llu: the file is damaged or cut off: %s", r->path,
                     (unsigned long long)r->next_line, text);
}

/* Where the reader stands inside a record. A quote opens only at the start of a field, so that an inch sign inside a
 * title does no harm; a second quote directly behind a closing one is a quote of the text. */
enum quote_state { FIELD_START, IN_FIELD, IN_QUOTES, QUOTE_CLOSED };

static enum quote_state quote_next(enum quote_state state, char c, char delimiter)
{
    if (state == IN_QUOTES) return c == '"' ? QUOTE_CLOSED : IN_QUOTES;
    if (c == '"' && state != IN_FIELD) return IN_QUOTES;
    return c == delimiter ? FIELD_START : IN_FIELD;
}

/* Collects bytes up to a line end outside quotes. false: the end came before any byte, or the file is damaged. A record
 * over the limit ends at its next line end, inside quotes or not. */
static bool collect(struct train__records *r, struct err *err)
{
    enum quote_state state = FIELD_START;
    bool any = false;
    for (;;) {
        if (r->at == r->have && !refill(r, err)) return any && err->class == ERR_NONE;
        char c = r->chunk[r->at++];
        any = true;
        if (c == '\n') {
            r->next_line++;
            if (state != IN_QUOTES || r->text.failed) return true;
        }
        buf_push_byte(&r->text, (uint8_t)c);
        if (r->quoted) state = quote_next(state, c, r->delimiter);
    }
}

bool train__records_next(struct train__records *records, char **text, size_t *len, struct err *err)
{
    struct train__records *r = records;
    err->class = ERR_NONE;
    while (!r->ended || r->at < r->have) {
        buf_reset(&r->text);
        r->line = r->next_line;
        if (!collect(r, err)) return false;
        if (r->text.failed) {
            return err_set(err, ERR_DATA, "%s:%llu: record of more than %zu bytes%s", r->path,
                           (unsigned long long)r->line, r->text.max,
                           r->quoted ? "; is a quote not closed?" : "");
        }
        size_t n = r->text.len;
        while (n > 0 && (r->text.data[n - 1] == '\r'))
            n--;
        bool blank = true;
        for (size_t i = 0; i < n && blank; i++)
            blank = r->text.data[i] == ' ' || r->text.data[i] == '\t';
        if (blank) continue;
        *text = (char *)r->text.data;
        *len = n;
        return true;
    }
    return false;
}

void train__records_delimiter(struct train__records *records, char delimiter)
{
    records->delimiter = delimiter;
}

const char *train__records_path(const struct train__records *records)
{
    return records->path;
}

uint64_t train__records_line(const struct train__records *records)
{
    return records->line;
}

double train__records_progress(const struct train__records *records)
{
    if (records->size <= 0) return 1;
    double done = (double)gzoffset(records->file) / records->size;
    return done > 1 ? 1 : done < 0 ? 0 : done;
}

/* One field from text[*at] on, which is moved behind its delimiter. A field that opens with a quote is unquoted in
 * place; what follows the closing quote up to the delimiter is kept as it is. */
static struct str take_field(char *text, size_t len, size_t *at, char delimiter)
{
    size_t start = *at;
    size_t in = start;
    size_t out = start;
    bool in_quotes = delimiter != ' ' && in < len && text[in] == '"';
    if (in_quotes) in++;
    while (in < len) {
        char c = text[in];
        if (in_quotes && c == '"') {
            bool doubled = in + 1 < len && text[in + 1] == '"';
            in += doubled ? 2 : 1;
            in_quotes = doubled;
            if (doubled) text[out++] = '"';
            continue;
        }
        if (!in_quotes && (c == delimiter || (delimiter == ' ' && c == '\t'))) break;
        text[out++] = c;
        in++;
    }
    *at = in;
    return (struct str){text + start, out - start};
}

int train__split(char *text, size_t len, char delimiter, struct str fields[TRAIN__FIELDS_MAX])
{
    int n = 0;
    size_t at = 0;
    for (;;) {
        if (delimiter == ' ') {
            while (at < len && (text[at] == ' ' || text[at] == '\t'))
                at++;
            if (at == len) return n;
        }
        if (n == TRAIN__FIELDS_MAX) return -1;
        fields[n++] = take_field(text, len, &at, delimiter);
        if (at >= len) return n;
        at++;
        if (at == len && delimiter != ' ') {
            if (n == TRAIN__FIELDS_MAX) return -1;
            fields[n++] = (struct str){text + at, 0};
            return n;
        }
    }
}
