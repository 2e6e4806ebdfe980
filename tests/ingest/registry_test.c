/* LINK:rdkafka*/
/* The schema registry is away: the shard waits with the record in hand, nothing is dropped, and it goes on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/ingest/support.h"

static struct cluster cluster;

/* ---- a registry that knows every id, or is away ---- */

static struct {
    struct thread thread;
    struct flag stop;
    struct flag away; /* answers 503 */
    struct sync_int requests;
    int listener;
    char url[64];
} registry;

static const char schema[] =
    "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"E\\\",\\\"fields\\\":["
    "{\\\"name\\\":\\\"user_id\\\",\\\"type\\\":\\\"string\\\"},"
    "{\\\"name\\\":\\\"item_id\\\",\\\"type\\\":\\\"string\\\"},"
    "{\\\"name\\\":\\\"event_type\\\",\\\"type\\\":\\\"string\\\"}]}\"}";

/* One request a connection; its head comes in one piece on loopback. */
static void answer(int fd)
{
    char request[4096], text[1024];
    bool away = flag_is_raised(&registry.away);
    const char *body = away ? "{\"error_code\":50301,\"message\":\"away\"}" : schema;
    if (recv(fd, request, sizeof request, 0) <= 0) return;
    (void)sync_int_add(&registry.requests, 1);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     away ? 503 : 200, strlen(body), body);
    CHECK(n > 0 && n < (int)sizeof text);
    CHECK_INT(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

static void serve(void *context)
{
    (void)context;
    while (!flag_is_raised(&registry.stop)) {
        struct pollfd poll_fd = {.fd = registry.listener, .events = POLLIN};
        if (poll(&poll_fd, 1, 20) <= 0) continue;
        int fd = accept(registry.listener, NULL, NULL);
        if (fd < 0) continue;
        answer(fd);
        (void)close(fd);
    }
}

static void registry_start(void)
{
    struct err err = ERR_INIT;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    registry.listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(registry.listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(registry.listener, 8) == 0);
    CHECK(getsockname(registry.listener, (struct sockaddr *)&address, &len) == 0);
    (void)snprintf(registry.url, sizeof registry.url, "http://127.0.0.1:%d",
                   ntohs(address.sin_port));
    CHECK_OK(thread_start(&registry.thread, "registry", serve, NULL, &err), err);
}

static void registry_stop(void)
{
    flag_raise(&registry.stop);
    thread_join(&registry.thread);
    (void)close(registry.listener);
}

/* ---- the application's side ---- */

/* A new codec, which knows no id yet. */
static void codec_renew(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options options = {.registry_url = registry.url,
                                            .registry_timeout_ms = 5000};
    schemas_close(cluster.schemas);
    CHECK_OK(schemas_open(&cluster.schemas, &options, &err), err);
    flag_lower(&registry.away);
}

/* n clicks written with the schema of this id. */
static void produce_by(const struct app *app, int32_t partition, char id, int n)
{
    char bytes[] = "\0\0\0\0\0\2u\2i\12click";
    bytes[4] = id;
    for (int i = 0; i < n; i++)
        produce_bytes(&cluster, app->names[0], partition, bytes, sizeof bytes - 1);
}

/* Polls one shard until `want` records came (0: none is due) or the time is over; all that comes is whole and in order.
 * Returns how many came. */
static int poll_for(struct app *app, int shard, int want, int ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)ms * 1000000;
    int got = 0;
    while ((want == 0 || got < want) && clock_mono_ns() < until) {
        struct err err = ERR_INIT;
        struct ingest_batch batch;
        CHECK_OK(ingest_serve(app->ingest, 0, &err), err);
        CHECK_OK(ingest_poll(app->ingest, shard, 20, &batch, &err), err);
        for (int i = 0; i < batch.n; i++, got++) {
            const struct ingest_record *r = &batch.records[i];
            CHECK_INT(r->reason, REASON_NONE);
            CHECK_INT(r->offset, app->next[0][r->partition]++);
        }
        ingest_batch_release(app->ingest, shard, &batch);
    }
    return got;
}

/* ---- cases ---- */

static void a_shard_waits_and_goes_on(void)
{
    struct app app;
    codec_renew();
    app_init(&app, &cluster, 1, 2);
    app.next[0][0] = app.next[0][1] = 0;
    produce_by(&app, 0, 1, 3);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 3), 3); /* makes id 1 known */
    flag_raise(&registry.away);
    produce_by(&app, 0, 7, 2);
    produce_by(&app, 0, 1, 4);
    int64_t before = sync_int_get(&registry.requests);
    uint64_t start = clock_mono_ns();
    int early = poll_for(&app, 0, 0, 2500);
    int64_t asked = sync_int_get(&registry.requests) - before;
    int64_t seconds = (int64_t)((clock_mono_ns() - start) / 1000000000u);
    CHECK_INT(early, 0);
    /* An id without an answer is not asked for again within a second. */
    if (asked < 1 || asked > seconds + 2)
        test_fail(__FILE__, __LINE__, "%lld requests in %lld s", (long long)asked,
                  (long long)seconds);
    produce_by(&app, 1, 1, 5); /* the other shard, by an id that is known */
    CHECK_INT(poll_for(&app, 1, 5, 10000), 5);
    CHECK_INT(app.next[0][0], 3);
    flag_lower(&registry.away);
    CHECK_INT(poll_for(&app, 0, 6, 20000), 6);
    CHECK_INT(app.next[0][0], 9);
    app_close(&app);
}

static void the_wait_has_an_end(void)
{
    struct err err = ERR_INIT;
    struct app app;
    codec_renew();
    flag_raise(&registry.away);
    app_init(&app, &cluster, 1, 1);
    app.options.hold_ms = 300;
    produce_by(&app, 2, 9, 1);
    app_open(&app, &cluster, PARTITIONS);
    app_await_failure(&app, &err);
    CHECK_INT(err.class, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_UNREACHABLE);
    CHECK_CONTAINS(err.text, "gave up after 300 ms at partition 2 offset 0");
    app_close(&app);
}

/* The partition comes back at an earlier offset, as after a lost assignment: what was held is read again in its turn. */
static void a_held_record_does_not_outlive_its_assignment(void)
{
    struct err err = ERR_INIT;
    struct app app, other;
    codec_renew();
    app_init(&app, &cluster, 1, 1);
    app.next[0][0] = 0;
    produce_by(&app, 0, 1, 5);
    app_open(&app, &cluster, PARTITIONS);
    CHECK_INT(app_take(&app, 5), 5);
    flag_raise(&registry.away);
    produce_by(&app, 0, 7, 1);
    CHECK_INT(poll_for(&app, 0, 0, 500), 0);
    app.next[0][0] = 2; /* the last three were not written down */
    other = app;
    other.assigned = 0;
    uint64_t until = clock_mono_ns() + 60000000000u;
    CHECK_OK(app_try_open(&other, &cluster, &err), err);
    while (other.assigned == 0 && clock_mono_ns() < until) {
        CHECK_OK(ingest_serve(app.ingest, 10, &err), err);
        CHECK_OK(ingest_serve(other.ingest, 10, &err), err);
    }
    CHECK(other.assigned > 0);
    app_close(&other);
    CHECK(app.revoked >= PARTITIONS);
    while (app.assigned - app.revoked < PARTITIONS && clock_mono_ns() < until)
        CHECK_OK(ingest_serve(app.ingest, 50, &err), err);
    CHECK_INT(app.assigned - app.revoked, PARTITIONS);
    flag_lower(&registry.away);
    CHECK_INT(poll_for(&app, 0, 4, 20000), 4);
    CHECK_INT(app.next[0][0], 6);
    app_close(&app);
}

int main(void)
{
    registry_start();
    cluster_start(&cluster);
    CASE(a_shard_waits_and_goes_on);
    CASE(the_wait_has_an_end);
    CASE(a_held_record_does_not_outlive_its_assignment);
    cluster_stop(&cluster);
    registry_stop();
    return 0;
}
