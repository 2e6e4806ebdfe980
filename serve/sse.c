/* Streams of server-sent events (WHATWG HTML, 9.2). Events gather in a queue and go out together at the end of the loop's turn:
 * one write for all that happened meanwhile. While one is under way the queue grows, up to its limit: who reads slower is
 * dropped, and may come back. */
#include "serve/internal.h"

/* The queue becomes what is sent, and the sent buffer the queue; each keeps its own limit. */
static void swap(struct serve__conn *conn)
{
    struct buf sent = conn->out;
    size_t out_max = conn->out.max, queue_max = conn->queue.max;
    conn->out = conn->queue;
    conn->queue = sent;
    conn->out.max = out_max;
    conn->queue.max = queue_max;
    buf_reset(&conn->queue);
}

static void flush(struct serve__conn *conn)
{
    struct serve *serve = conn->serve;
    if (conn->state != SERVE__STREAMING || conn->is_sending || conn->queue.len == 0) return;
    swap(conn);
    conn->sending[0] = (struct str){(const char *)conn->out.data, conn->out.len};
    conn->sending[1] = (struct str){NULL, 0};
    serve->numbers.sent_bytes += (int64_t)conn->out.len;
    enum serve__sent sent = serve->wire->send(conn);
    conn->is_sending = sent == SERVE__SENT_LATER;
    if (conn->is_sending)
        conn->deadline_ms = serve->wire->now_ms(serve) + serve->options.limits.write_ms;
    if (sent == SERVE__SENT_FAILED) serve__conn_close(conn);
}

void serve__stream_sent(struct serve__conn *conn)
{
    conn->deadline_ms = INT64_MAX / 2;
    flush(conn);
}

void serve__streams_flush(struct serve *serve)
{
    while (serve->dirty) {
        struct serve__conn *conn = serve->dirty;
        serve->dirty = conn->next_dirty;
        conn->is_dirty = false;
        flush(conn);
    }
}

/* What was pushed goes out, or the reader is dropped for the want of room. */
static bool queue_mark(struct serve__conn *conn)
{
    struct serve *serve = conn->serve;
    if (conn->queue.failed) {
        serve->numbers.streams_dropped++;
        serve__conn_close(conn);
        return false;
    }
    if (conn->is_dirty) return true;
    conn->is_dirty = true;
    conn->next_dirty = serve->dirty;
    serve->dirty = conn;
    return true;
}

static void line_push(struct buf *queue, struct str name, struct str value)
{
    buf_push_str(queue, name);
    buf_push_str(queue, value);
    buf_push_byte(queue, '\n');
}

bool serve_stream_send(struct serve_request *request, const char *event, const char *id,
                       struct str data)
{
    struct serve__conn *conn = request->conn;
    struct buf *queue = &conn->queue;
    if (conn->state != SERVE__STREAMING) return false;
    line_push(queue, STR("event: "), str_of(event));
    if (id) line_push(queue, STR("id: "), str_of(id));
    for (size_t at = 0; at <= data.len;) {
        const char *from = data.ptr + at,
                   *end = at < data.len ? memchr(from, '\n', data.len - at) : NULL;
        size_t len = end ? (size_t)(end - from) : data.len - at;
        line_push(queue, STR("data: "), (struct str){from, len});
        at += len + 1;
    }
    buf_push_byte(queue, '\n');
    return queue_mark(conn);
}

void serve_stream_each(struct serve *serve, const char *path,
                       void (*visit)(void *context, struct serve_request *request), void *context)
{
    struct serve__conn *next;
    for (struct serve__conn *conn = serve->streams.first; conn; conn = next) {
        next = conn->next;
        if (path == NULL || strcmp(conn->request.row->route->path, path) == 0)
            visit(context, &conn->request);
    }
}

void serve__streams_beat(struct serve *serve)
{
    int64_t now_ms = serve->wire->now_ms(serve);
    struct serve__conn *next;
    if (now_ms - serve->beat_ms < serve->options.limits.beat_ms) return;
    serve->beat_ms = now_ms;
    for (struct serve__conn *conn = serve->streams.first; conn; conn = next) {
        next = conn->next;
        buf_push_text(&conn->queue, ":\n\n");
        (void)queue_mark(conn);
    }
}
