/* Load on an HTTP server: closed loop (each connection sends its next request after the last answer: throughput), then open
 * loop (requests at planned times, latency from the planned time on, so that a stalled server is not spared: wrk2's rule).
 *
 *   http_bench                                      a server of its own on another thread, two routes: `{}` and a list of 20 items
 *   http_bench --target 127.0.0.1:8080 --path /v1/recommend/u{n} [--users 1000] [--body JSON] [--token T] [--pid PID]
 *   both: [--rate 5000] [--seconds 5] [--connections 64]
 *
 * {n} in path and body is replaced by a number below --users, another one each time. --pid: the server's, for its CPU time; of
 * the own server the thread's is taken. Every answer's status is counted; any but 2xx ends the bench with status 1. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sync.h"
#include "serve/serve.h"

/* LINK: libuv */

enum {
    CONNECTIONS_MAX = 400, /* with the own server's ends fewer descriptors than FD_SETSIZE */
    ANSWER_ROOM = 64 * 1024,
    REQUEST_ROOM = 16 * 1024,
    LATENCIES_MAX = 4 * 1000 * 1000
};

struct setup {
    const char *host, *path, *body, *token;
    int port, connections, rate, users;
    double seconds;
    long pid;
};

/* ---- a server of our own ---- */

struct own {
    struct thread thread;
    uv_loop_t loop;
    uv_async_t wake;
    struct serve *serve;
};

static void trivial(void *context, struct serve_request *request)
{
    (void)context;
    buf_push_text(serve_reply_body(request), "{}");
    serve_reply(request, 200);
}

static void list(void *context, struct serve_request *request)
{
    struct serve_json json = serve_json_begin(serve_reply_body(request));
    (void)context;
    serve_json_object(&json, NULL);
    serve_json_text(&json, "user_id", serve_text(request, "user"));
    serve_json_array(&json, "items");
    for (int i = 0; i < (int)serve_int(request, "n"); i++) {
        serve_json_object(&json, NULL);
        serve_json_cstr(&json, "item_id", "sku-1234567");
        serve_json_number(&json, "score", 3.25 / (i + 3));
        serve_json_cstr(&json, "title", "A red jacket, waterproof, size M");
        serve_json_number(&json, "price", 79.95);
        serve_json_array(&json, "reasons");
        serve_json_object(&json, NULL);
        serve_json_cstr(&json, "kind", "because_viewed");
        serve_json_cstr(&json, "item_id", "sku-7654321");
        serve_json_end(&json);
        serve_json_end(&json);
        serve_json_end(&json);
    }
    serve_json_end(&json);
    serve_json_end(&json);
    serve_reply(request, 200);
}

static const struct serve_route routes[] = {
    {.method = SERVE_GET, .path = "/trivial", .handle = trivial},
    {.method = SERVE_GET,
     .path = "/list/{user}",
     .handle = list,
     .params = {{.name = "user", .type = SERVE_TEXT},
                {.name = "n", .type = SERVE_INT, .min = 1, .max = 100, .fallback = "20"}}},
};

static void on_done(void *context)
{
    struct own *own = context;
    uv_close((uv_handle_t *)&own->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
    struct own *own = wake->data;
    serve_stop(own->serve, 1000, on_done, own);
}

static void own_run(void *context)
{
    struct own *own = context;
    (void)uv_run(&own->loop, UV_RUN_DEFAULT);
    serve_free(own->serve);
    (void)uv_loop_close(&own->loop);
}

static void must(bool ok, const char *what)
{
    if (ok) return;
    (void)fprintf(stderr, "http_bench: %s\n", what);
    exit(1);
}

static void own_start(struct own *own, struct setup *setup)
{
    struct err err = ERR_INIT;
    const struct serve_options options = {.listen = "127.0.0.1:0",
                                          .routes = routes,
                                          .n_routes = 2,
                                          .limits = {.connections = CONNECTIONS_MAX}};
    (void)uv_loop_init(&own->loop);
    own->wake.data = own;
    (void)uv_async_init(&own->loop, &own->wake, on_wake);
    must(serve_open(&own->serve, &options, &own->loop, &err), err.text);
    setup->port = serve_port(own->serve);
    must(thread_start(&own->thread, "http", own_run, own, &err), err.text);
}

/* ---- connections ---- */

struct link {
    int fd;
    bool is_busy;
    int64_t planned_ns; /* of the request under way */
    size_t n;           /* bytes of the answer so far */
    size_t need;        /* of the whole answer; 0: the head is not complete */
    char bytes[ANSWER_ROOM + 1];
};

struct run {
    const struct setup *setup;
    struct link *links;
    struct rng rng;
    int64_t *latencies; /* (n_latencies) ns */
    int64_t *lates;     /* (n_lates) ns from planned to sent: kept back by the bench itself */
    size_t n_latencies, n_lates;
    int64_t answers, bad;
};

static int connect_one(const struct setup *setup)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)setup->port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    must(inet_pton(AF_INET, setup->host, &address.sin_addr) == 1,
         "--target wants an IPv4 address and a port");
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0,
         "cannot connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* text with each {n} replaced. */
static void fill(struct run *run, struct buf *out, const char *text)
{
    const char *mark;
    while ((mark = strstr(text, "{n}")) != NULL) {
        buf_push(out, text, (size_t)(mark - text));
        buf_push_format(out, "%d", (int)(rng_below(&run->rng, (uint32_t)run->setup->users)));
        text = mark + 3;
    }
    buf_push_text(out, text);
}

static void request_send(struct run *run, struct link *link, int64_t planned_ns)
{
    const struct setup *setup = run->setup;
    static uint8_t request_bytes[REQUEST_ROOM], body_bytes[REQUEST_ROOM];
    struct buf request = {.data = request_bytes, .cap = REQUEST_ROOM, .max = REQUEST_ROOM};
    struct buf body = {.data = body_bytes, .cap = REQUEST_ROOM, .max = REQUEST_ROOM};
    buf_push_text(&request, setup->body ? "POST " : "GET ");
    fill(run, &request, setup->path);
    buf_push_format(&request,
                    " HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: http_bench\r\nAccept: */*\r\n",
                    setup->host, setup->port);
    if (setup->token) buf_push_format(&request, "Authorization: Bearer %s\r\n", setup->token);
    if (setup->body) {
        fill(run, &body, setup->body);
        buf_push_format(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                        body.len);
    }
    buf_push_text(&request, "\r\n");
    buf_push(&request, body.data, body.len);
    must(!request.failed && !body.failed, "the request is too long");
    must(send(link->fd, request.data, request.len, MSG_NOSIGNAL) == (ssize_t)request.len,
         "the server takes no more bytes");
    link->is_busy = true;
    link->planned_ns = planned_ns;
    link->n = link->need = 0;
}

static void answer_measure(struct link *link)
{
    const char *end = strstr(link->bytes, "\r\n\r\n"),
               *length = strstr(link->bytes, "Content-Length: ");
    if (end == NULL) return;
    must(length && length < end, "an answer without Content-Length");
    link->need = (size_t)(end + 4 - link->bytes) + strtoul(length + 16, NULL, 10);
    must(link->need <= ANSWER_ROOM, "an answer is longer than 64 KiB");
}

/* true: the answer is whole. */
static bool answer_take(struct run *run, struct link *link)
{
    ssize_t n = recv(link->fd, link->bytes + link->n, ANSWER_ROOM - link->n, 0);
    if (n < 0 && errno == EAGAIN) return false;
    must(n > 0, "the server closed a connection");
    link->n += (size_t)n;
    link->bytes[link->n] = '\0';
    if (link->need == 0) answer_measure(link);
    if (link->need == 0 || link->n < link->need) return false;
    link->is_busy = false;
    run->answers++;
    if (link->bytes[9] != '2' && run->bad++ == 0)
        (void)fprintf(stderr, "http_bench: %.400s\n", link->bytes);
    if (run->n_latencies < LATENCIES_MAX)
        run->latencies[run->n_latencies++] = (int64_t)clock_mono_ns() - link->planned_ns;
    return true;
}

/* ---- loops ---- */

/* When request number i is to be sent; rate 0: at once. */
static int64_t due_ns(int64_t start, int64_t i, double rate)
{
    return rate > 0 ? start + (int64_t)((double)i * 1e9 / rate) : 0;
}

/* Until an answer comes or `until`: to the microsecond, and asleep, as the server may need this core too. */
static void wait_until(struct run *run, int64_t now, int64_t until)
{
    const int n = run->setup->connections;
    fd_set ready;
    int64_t left = until > now ? until - now : 0;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    int most = 0;
    FD_ZERO(&ready);
    for (int i = 0; i < n; i++) {
        FD_SET(run->links[i].fd, &ready);
        if (run->links[i].fd > most) most = run->links[i].fd;
    }
    if (pselect(most + 1, &ready, NULL, NULL, &timeout, NULL) <= 0) return;
    for (int i = 0; i < n; i++)
        if (FD_ISSET(run->links[i].fd, &ready)) (void)answer_take(run, &run->links[i]);
}

/* rate 0: closed loop. A request that no connection was free for at its time is sent late, and its latency counts from then. */
static void turn_loop(struct run *run, double rate, double seconds)
{
    const int n = run->setup->connections;
    int64_t start = (int64_t)clock_mono_ns(), end = start + (int64_t)(seconds * 1e9), sent = 0;
    run->answers = run->bad = 0;
    run->n_latencies = run->n_lates = 0;
    for (;;) {
        int64_t now = (int64_t)clock_mono_ns();
        int busy = 0;
        for (int i = 0; i < n; i++) {
            int64_t due = due_ns(start, sent, rate);
            bool is_due = due <= now && due < end && now < end + (rate > 0 ? 1000000000 : 0);
            if (!run->links[i].is_busy && is_due) {
                if (run->n_lates < LATENCIES_MAX) run->lates[run->n_lates++] = now - due;
                request_send(run, &run->links[i], rate > 0 ? due : now);
                sent++;
            }
            busy += run->links[i].is_busy;
        }
        int64_t next = due_ns(start, sent, rate);
        bool is_over = now >= end || next >= end;
        if (busy == 0 && is_over) break;
        wait_until(run, now, busy < n && !is_over && rate > 0 ? next : now + 100000000);
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of ns (n), sorted. */
static double quantile_ms(const int64_t *ns, size_t n, double q)
{
    return n ? (double)ns[(size_t)((double)(n - 1) * q)] / 1e6 : 0;
}

/* In the open loop also how late requests went out: a tail that the bench has itself is the machine's. */
static void quantiles_print(struct run *run, bool is_open)
{
    const int64_t *ns = run->latencies;
    size_t n = run->n_latencies;
    qsort(run->latencies, n, sizeof *ns, compare);
    printf("  p50 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms", quantile_ms(ns, n, 0.5),
           quantile_ms(ns, n, 0.99), quantile_ms(ns, n, 0.999), quantile_ms(ns, n, 1));
    if (!is_open) return;
    qsort(run->lates, run->n_lates, sizeof *ns, compare);
    printf("  sent late p50 %.3f  p99 %.3f  max %.3f ms",
           quantile_ms(run->lates, run->n_lates, 0.5), quantile_ms(run->lates, run->n_lates, 0.99),
           quantile_ms(run->lates, run->n_lates, 1));
}

static double clock_seconds(clockid_t clock)
{
    struct timespec time = {0};
    (void)clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double cpu_seconds(const struct setup *setup, const struct own *own)
{
    char path[64], text[1024];
    unsigned long user = 0, kernel = 0;
    /* Of the two threads of this process, the other one. */
    if (own)
        return clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", setup->pid);
    FILE *file = setup->pid ? fopen(path, "r") : NULL;
    if (file == NULL) return 0;
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    if (at)
        (void)sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static void part(struct run *run, const struct own *own, double rate)
{
    double seconds = run->setup->seconds, cpu = cpu_seconds(run->setup, own);
    int64_t start = (int64_t)clock_mono_ns();
    turn_loop(run, rate, seconds);
    double took = (double)((int64_t)clock_mono_ns() - start) / 1e9;
    cpu = cpu_seconds(run->setup, own) - cpu;
    printf("%-24s %-6s %8.0f/s", run->setup->path, rate > 0 ? "open" : "closed",
           (double)run->answers / took);
    quantiles_print(run, rate > 0);
    printf("  server CPU %.1f us a request\n",
           cpu * 1e6 / (double)(run->answers ? run->answers : 1));
    (void)fflush(stdout);
    must(run->bad == 0, "an answer was not 2xx");
}

static void bench(const struct setup *setup, const struct own *own)
{
    struct run run = {.setup = setup};
    run.links = mem_zalloc((size_t)setup->connections * sizeof *run.links);
    run.latencies = mem_alloc(LATENCIES_MAX * sizeof *run.latencies);
    run.lates = mem_alloc(LATENCIES_MAX * sizeof *run.lates);
    rng_init(&run.rng, 1);
    for (int i = 0; i < setup->connections; i++)
        run.links[i].fd = connect_one(setup);
    part(&run, own, 0);
    part(&run, own, setup->rate);
    for (int i = 0; i < setup->connections; i++)
        (void)close(run.links[i].fd);
    mem_free(run.links);
    mem_free(run.latencies);
    mem_free(run.lates);
}

/* ---- the command line ---- */

static void target_read(struct setup *setup, char *target)
{
    char *colon = strrchr(target, ':');
    must(colon != NULL, "--target wants HOST:PORT");
    *colon = '\0';
    setup->host = target;
    setup->port = (int)strtol(colon + 1, NULL, 10);
}

static void flag_read(struct setup *setup, const char *name, char *value)
{
    must(value != NULL, "each flag wants a value");
    if (strcmp(name, "--target") == 0)
        target_read(setup, value);
    else if (strcmp(name, "--path") == 0)
        setup->path = value;
    else if (strcmp(name, "--body") == 0)
        setup->body = value;
    else if (strcmp(name, "--token") == 0)
        setup->token = value;
    else if (strcmp(name, "--rate") == 0)
        setup->rate = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--users") == 0)
        setup->users = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--connections") == 0)
        setup->connections = (int)strtol(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        setup->seconds = strtod(value, NULL);
    else if (strcmp(name, "--pid") == 0)
        setup->pid = strtol(value, NULL, 10);
    else
        must(false,
             "flags: --target --path --body --token --rate --users --connections --seconds --pid");
}

int main(int argc, char **argv)
{
    struct setup setup = {
        .host = "127.0.0.1", .connections = 64, .rate = 5000, .users = 1000, .seconds = 5};
    for (int i = 1; i < argc; i += 2)
        flag_read(&setup, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
    must(setup.connections > 0 && setup.connections <= CONNECTIONS_MAX && setup.rate > 0 &&
             setup.users > 0,
         "--connections 1 to 400, --rate and --users above 0");
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    if (setup.port) {
        must(setup.path != NULL, "--target needs --path");
        bench(&setup, NULL);
        return 0;
    }
    static struct own own;
    own_start(&own, &setup);
    static const char *const paths[] = {"/trivial", "/list/u{n}"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        setup.path = paths[i];
        bench(&setup, &own);
    }
    (void)uv_async_send(&own.wake);
    thread_join(&own.thread);
    return 0;
}
