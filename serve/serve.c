/* The server: its tables, its pool of connections, its clockwork. */
#include "serve/serve.h"

#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "serve/internal.h"

enum { DOCUMENT_MAX = 1024 * 1024, SPARE_SLOTS = 16 };

/* ---- lists ---- */

void serve__list_push(struct serve__list *list, struct serve__conn *conn)
{
    conn->next = NULL;
    conn->prev = list->last;
    if (list->last)
        list->last->next = conn;
    else
        list->first = conn;
    list->last = conn;
}

void serve__list_remove(struct serve__list *list, struct serve__conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        list->first = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    else
        list->last = conn->prev;
}

struct serve__list *serve__list_of(struct serve *serve, enum serve__state state)
{
    if (state == SERVE__FREE) return &serve->pool;
    if (state == SERVE__IDLE) return &serve->idle;
    return state == SERVE__STREAMING ? &serve->streams : &serve->busy;
}

/* ---- the pool ---- */

static struct serve__conn *conn_make(struct serve *serve, int slot)
{
    const struct serve_limits *limits = &serve->options.limits;
    struct serve__conn *conn = mem_zalloc(sizeof *conn);
    conn->serve = serve;
    conn->slot = (uint32_t)slot;
    serve__parser_init(&conn->parser, limits->head, limits->body);
    buf_init(&conn->out, SERVE__HEAD_ROOM + limits->answer);
    buf_init(&conn->queue, limits->queue);
    serve->conns[slot] = conn;
    serve__list_push(&serve->pool, conn);
    return conn;
}

static void conn_free(struct serve__conn *conn)
{
    if (conn == NULL) return;
    serve__parser_fini(&conn->parser);
    buf_fini(&conn->out);
    buf_fini(&conn->queue);
    mem_free(conn);
}

struct serve__conn *serve__conn_take(struct serve *serve)
{
    if (serve->n_live >= serve->options.limits.connections && serve->idle.first) {
        serve->numbers.evicted++;
        serve__conn_close(serve->idle.first);
    }
    struct serve__conn *conn = serve->pool.first;
    if (conn == NULL && serve->n_made < serve->n_slots) conn = conn_make(serve, serve->n_made++);
    if (conn) serve->n_open++;
    return conn;
}

/* ---- the clockwork ---- */

static void late_close(struct serve *serve, struct serve__list *list, int64_t now_ms)
{
    struct serve__conn *next;
    for (struct serve__conn *conn = list->first; conn; conn = next) {
        next = conn->next;
        if (serve->is_stopping && now_ms >= serve->stop_ms)
            serve__conn_close(conn);
        else if (now_ms >= conn->deadline_ms)
            serve__conn_late(conn);
    }
}

void serve__tick(struct serve *serve)
{
    int64_t now_ms = serve->wire->now_ms(serve);
    late_close(serve, &serve->idle, now_ms);
    late_close(serve, &serve->busy, now_ms);
    late_close(serve, &serve->streams, now_ms);
    serve__streams_beat(serve);
}

/* ---- the server ---- */

#define LIMIT(field, fallback)                                                                     \
    do {                                                                                           \
        if (limits->field == 0) limits->field = (fallback);                                        \
    } while (0)

static void limits_fill(struct serve_limits *limits)
{
    LIMIT(connections, 256);
    LIMIT(streams, (limits->connections + 1) / 2);
    LIMIT(head, 8 * 1024);
    LIMIT(body, 64 * 1024);
    LIMIT(answer, 1024 * 1024);
    LIMIT(queue, 256 * 1024);
    LIMIT(head_ms, 10 * 1000);
    LIMIT(body_ms, 30 * 1000);
    LIMIT(hold_ms, 30 * 1000);
    LIMIT(write_ms, 30 * 1000);
    LIMIT(idle_ms, 30 * 1000);
    LIMIT(beat_ms, 15 * 1000);
}

static void openapi_handle(void *context, struct serve_request *request)
{
    (void)context;
    serve_reply_static(request, 200, "application/json", serve_openapi(request->conn->serve));
}

static const struct serve_route openapi_route = {
    .method = SERVE_GET, .path = "/openapi.json", .handle = openapi_handle, .is_open = true};

void serve__init(struct serve *serve, const struct serve_options *options,
                 const struct serve__wire *wire)
{
    *serve = (struct serve){.options = *options, .wire = wire};
    if (serve->options.token == NULL) serve->options.token = "";
    if (serve->options.cors_origin == NULL) serve->options.cors_origin = "";
    limits_fill(&serve->options.limits);
    struct serve_route *table = mem_alloc(((size_t)options->n_routes + 1) * sizeof *table);
    if (options->n_routes)
        memcpy(table, options->routes, (size_t)options->n_routes * sizeof *table);
    table[options->n_routes] = openapi_route;
    serve->options.routes = table;
    serve__routes_init(&serve->routes, table, options->n_routes + 1);
    serve__files_init(&serve->files, options->files, options->n_files);
    buf_init(&serve->openapi, DOCUMENT_MAX);
    serve__openapi_write(&serve->options, &serve->openapi);
    assert(!serve->openapi.failed);
    serve->n_slots = serve->options.limits.connections + SPARE_SLOTS;
    serve->conns = mem_zalloc((size_t)serve->n_slots * sizeof(struct serve__conn *));
}

void serve__fini(struct serve *serve)
{
    for (int i = 0; i < serve->n_made; i++)
        conn_free(serve->conns[i]);
    mem_free(serve->conns);
    buf_fini(&serve->openapi);
    serve__files_fini(&serve->files);
    serve__routes_fini(&serve->routes);
    mem_free((void *)(uintptr_t)serve->options.routes);
}

bool serve_open(struct serve **serve, const struct serve_options *options, struct uv_loop_s *loop,
                struct err *err)
{
    struct serve *made = mem_alloc(sizeof *made);
    serve__init(made, options, &serve__wire_uv);
    made->loop = loop;
    if (!serve__wire_open(made, err)) {
        serve__fini(made);
        mem_free(made);
        return false;
    }
    log_info("serve", "listening", "address=%s port=%d", options->listen, made->port);
    *serve = made;
    return true;
}

int serve_port(const struct serve *serve)
{
    return serve->port;
}

static void stop_all(struct serve__list *list)
{
    struct serve__conn *next;
    for (struct serve__conn *conn = list->first; conn; conn = next) {
        next = conn->next;
        serve__conn_stop(conn);
    }
}

void serve_stop(struct serve *serve, int64_t grace_ms, void (*done)(void *context), void *context)
{
    int64_t stop_ms = serve->wire->now_ms(serve) + grace_ms;
    if (serve->is_stopping) {
        if (stop_ms < serve->stop_ms) serve->stop_ms = stop_ms;
        return;
    }
    serve->is_stopping = true;
    serve->stop_ms = stop_ms;
    serve->done = done;
    serve->done_context = context;
    stop_all(&serve->idle);
    stop_all(&serve->streams);
    stop_all(&serve->busy);
    serve__wire_stop(serve);
}

void serve_free(struct serve *serve)
{
    if (serve == NULL) return;
    assert(serve->n_handles == 0 && serve->n_open == 0 && "free after stop was done");
    serve__fini(serve);
    mem_free(serve);
}

struct serve_numbers serve_numbers(const struct serve *serve)
{
    struct serve_numbers numbers = serve->numbers;
    numbers.connections = serve->n_open;
    return numbers;
}

struct str serve_openapi(const struct serve *serve)
{
    return (struct str){(const char *)serve->openapi.data, serve->openapi.len};
}
