/* Open sessions in a map by id, and in a list by their last view: the oldest is the next to end. */
#include "app/session_lines.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

enum { LINE_MAX = 1 << 20 }; /* bytes of a session; the views of a longer one go to a second line */

struct session {
    struct session *older, *newer; /* by last view */
    struct buf id, items;
    int64_t last_ms;
};

struct session_lines {
    struct session_lines_options options;
    struct map_str *by_id; /* keys are the sessions' own */
    struct session *oldest, *newest;
};

struct session_lines *session_lines_new(const struct session_lines_options *options)
{
    struct session_lines *lines = mem_zalloc(sizeof *lines);
    lines->options = *options;
    lines->by_id = map_str_new((size_t)options->max, MAP_KEYS_BORROWED);
    return lines;
}

static struct str id_of(const struct session *session)
{
    return (struct str){(const char *)session->id.data, session->id.len};
}

/* ---- the list ---- */

static void list_remove(struct session_lines *lines, struct session *session)
{
    *(session->older ? &session->older->newer : &lines->oldest) = session->newer;
    *(session->newer ? &session->newer->older : &lines->newest) = session->older;
}

static void list_append(struct session_lines *lines, struct session *session)
{
    session->older = lines->newest;
    session->newer = NULL;
    *(lines->newest ? &lines->newest->newer : &lines->oldest) = session;
    lines->newest = session;
}

/* ---- sessions ---- */

static struct session *session_new(struct session_lines *lines, struct str id)
{
    struct session *session = mem_zalloc(sizeof *session);
    buf_init(&session->id, id.len + 1);
    buf_init(&session->items, LINE_MAX);
    buf_push_str(&session->id, id);
    (void)map_str_set(lines->by_id, id_of(session), session);
    list_append(lines, session);
    return session;
}

static void session_free(struct session_lines *lines, struct session *session)
{
    list_remove(lines, session);
    (void)map_str_delete(lines->by_id, id_of(session));
    buf_fini(&session->id);
    buf_fini(&session->items);
    mem_free(session);
}

static bool session_end(struct session_lines *lines, struct session *session, struct err *err)
{
    buf_push_byte(&session->items, '\n');
    struct str line = {(const char *)session->items.data, session->items.len};
    bool ok = lines->options.write(lines->options.context, line, err);
    session_free(lines, session);
    return ok;
}

/* ---- public ---- */

void session_lines_free(struct session_lines *lines)
{
    if (!lines) return;
    while (lines->oldest)
        session_free(lines, lines->oldest);
    map_str_free(lines->by_id);
    mem_free(lines);
}

bool session_lines_add(struct session_lines *lines, struct str id, struct str item, int64_t time_ms,
                       struct err *err)
{
    while (lines->oldest && time_ms - lines->oldest->last_ms > lines->options.idle_ms)
        if (!session_end(lines, lines->oldest, err)) return false;
    struct session *session = map_str_get(lines->by_id, id);
    /* One byte is kept for the line's end. */
    if (session && session->items.len + item.len + 2 > LINE_MAX) {
        if (!session_end(lines, session, err)) return false;
        session = NULL;
    }
    if (!session && map_str_count(lines->by_id) == (size_t)lines->options.max &&
        !session_end(lines, lines->oldest, err))
        return false;
    if (!session) session = session_new(lines, id);
    if (session->items.len) buf_push_byte(&session->items, ' ');
    buf_push_str(&session->items, item);
    session->last_ms = time_ms;
    list_remove(lines, session);
    list_append(lines, session);
    return true;
}

bool session_lines_flush(struct session_lines *lines, struct err *err)
{
    while (lines->oldest)
        if (!session_end(lines, lines->oldest, err)) return false;
    return true;
}
