/* The HTTP API over real sockets and the in-process broker, without a pipeline: what the output topics hold is what comes out. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "app/app.h"
#include "app/clicks.h"
#include "app/config.h"
#include "app/http.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "emit/emit.h"
#include "kafka/kafka.h"
#include "tests/test.h"

/* LINK: libuv */

enum { ANSWER_MAX = 1 << 18, WAIT_MS = 15000 };

static struct kafka_embedded *broker;
static struct options *options;
static struct settings settings;
static struct schemas *schemas;
static char folder[] = "/tmp/freshet-http-XXXXXX";
static struct models *models; /* NULL: the server has none */

/* ---- the server, on a thread of its own ---- */

static struct server {
    struct thread thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct http *http;
    struct flag is_open;
    int port;
} server;

static void on_closed(void *context)
{
    (void)context;
    uv_close((uv_handle_t *)&server.stop, NULL);
}

static void on_stop(uv_async_t *handle)
{
    (void)handle;
    http_stop(server.http, 2000, on_closed, NULL);
}

static void server_run(void *context)
{
    struct err err = ERR_INIT;
    const struct http_options http = {
        .settings = &settings, .models = models, .listen = "127.0.0.1:0"};
    (void)context;
    (void)uv_loop_init(&server.loop);
    (void)uv_async_init(&server.loop, &server.stop, on_stop);
    CHECK_OK(http_open(&server.http, &http, &server.loop, &err), err);
    server.port = http_port(server.http);
    flag_raise(&server.is_open);
    (void)uv_run(&server.loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&server.loop), 0); /* no handle is left */
    http_close(server.http);
}

static void server_start(void)
{
    struct err err = ERR_INIT;
    flag_lower(&server.is_open);
    CHECK_OK(thread_start(&server.thread, "server", server_run, NULL, &err), err);
    while (!flag_is_raised(&server.is_open))
        sync_sleep_ms(5);
}

static void server_stop(void)
{
    (void)uv_async_send(&server.stop);
    thread_join(&server.thread);
}

/* ---- a client: one request a connection ---- */

static char answer[ANSWER_MAX]; /* of the last request, head and body */

static int ask(const char *method, const char *path, const char *body)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
    char head[1024];
    size_t len = 0;
    ssize_t got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int n = snprintf(head, sizeof head,
                     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     method, path, body ? strlen(body) : 0, body ? body : "");
    CHECK(n > 0 && (size_t)n < sizeof head);
    CHECK_INT(send(fd, head, (size_t)n, 0), n);
    while ((got = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0)
        len += (size_t)got;
    answer[len] = '\0';
    (void)close(fd);
    CHECK(len > 12);
    return (int)strtol(answer + 9, NULL, 10);
}

static void expect(const char *path, int status, const char *part)
{
    CHECK_INT(ask("GET", path, NULL), status);
    CHECK_CONTAINS(answer, part);
}

/* Until the answer holds the part. */
static void await(const char *path, const char *part)
{
    uint64_t until = clock_mono_ns() + (uint64_t)WAIT_MS * 1000000;
    do {
        (void)ask("GET", path, NULL);
    } while (!strstr(answer, part) && clock_mono_ns() < until);
    CHECK_CONTAINS(answer, part);
}

/* ---- records ---- */

static void send_to(const char *topic, const char *key, const struct buf *value)
{
    struct err err = ERR_INIT;
    struct emit_feed *feed;
    struct str bytes = {value ? (const char *)value->data : NULL, value ? value->len : 0};
    CHECK_OK(emit_feed_open(&feed, &settings.kafka, topic, &err), err);
    CHECK_OK(emit_feed_send(feed, str_of(key), bytes, 1700000000123, &err), err);
    CHECK_OK(emit_feed_close(feed, 10000, &err), err);
}

static void item_send(const char *id, const char *title, bool hidden)
{
    struct buf value;
    struct item item = {.item_id = str_of(id),
                        .title = str_of(title),
                        .price = 12.5,
                        .has_price = true,
                        .stock = -1,
                        .hidden = hidden};
    buf_init(&value, 1 << 16);
    schemas_item_encode(schemas, &item, &value);
    send_to("items", id, &value);
    buf_fini(&value);
}

static void list_send(const char *key, struct str tenant, struct str user, const char *first,
                      const char *second)
{
    struct buf value;
    struct list_item items[] = {
        {.item_id = str_of(first),
         .score = 2,
         .n_reasons = 1,
         .reasons = {{.kind = REASON_BECAUSE_VIEWED, .item_id = STR("seen")}}},
        {.item_id = str_of(second),
         .score = 1,
         .n_reasons = 1,
         .reasons = {{REASON_POPULAR, {0}}}}};
    struct recommendations list = {.recommendation_id = STR("r1"),
                                   .tenant = tenant,
                                   .user_id = user,
                                   .scenario = STR("default"),
                                   .items = items,
                                   .n_items = 2,
                                   .model_version = STR("m1"),
                                   .trigger = {.topic = STR("events"), .event_id = STR("e1")}};
    buf_init(&value, 1 << 16);
    schemas_recommendations_encode(schemas, &list, &value);
    send_to("lists", key, &value);
    buf_fini(&value);
}

static void related_send(void)
{
    struct buf value;
    const struct counted_item items[] = {{STR("b"), 0.5f, 3}, {STR("c"), 0.25f, 2}};
    struct related related = {
        .item_id = STR("a"), .kind = RELATED_ALSO_BOUGHT, .items = items, .n_items = 2, .count = 5};
    buf_init(&value, 1 << 16);
    schemas_related_encode(schemas, &related, &value);
    send_to("related", "a:also_bought", &value);
    buf_fini(&value);
}

static void trending_send(void)
{
    struct buf value;
    const struct counted_item items[] = {{STR("hot"), 9, 30}};
    struct trending trending = {.items = items, .n_items = 1, .count = 30};
    buf_init(&value, 1 << 16);
    schemas_trending_encode(schemas, &trending, &value);
    send_to("trending", "", &value);
    buf_fini(&value);
}

/* ---- the cases ---- */

static void lists_come_from_their_topic(void)
{
    list_send("u1", STR(""), STR("u1"), "a", "b");
    list_send("shop:u1", STR("shop"), STR("u1"), "x", "y");
    await("/v1/recommend/u1", "\"recommendation_id\":\"r1\"");
    expect("/v1/recommend/u1", 200, "\"item_id\":\"a\",\"score\":2");
    CHECK_CONTAINS(answer, "{\"kind\":\"because_viewed\",\"item_id\":\"seen\"}");
    CHECK_CONTAINS(answer, "\"published_at\":1700000000123,\"fallback\":null");
    expect("/v1/recommend/u1?n=1", 200, "\"item_id\":\"a\"");
    CHECK(!strstr(answer, "\"item_id\":\"b\""));
    await("/v1/recommend/u1?tenant=shop", "\"item_id\":\"x\"");
    expect("/v1/explain/u1/b", 200, "\"rank\":2");
    expect("/v1/explain/u1/z", 404, "not_found");
    send_to("lists", "u1", NULL); /* erased */
    await("/v1/recommend/u1?fallback=false", "no list for user u1");
    expect("/v1/recommend/u1?tenant=shop", 200, "\"item_id\":\"x\"");
    expect("/v1/recommend/u1?n=0", 400, "parameter n");
}

static void items_go_from_all_answers(void)
{
    list_send("u2", STR(""), STR("u2"), "a", "b");
    item_send("a", "Red shoe", false);
    await("/v1/items?query=red", "\"title\":\"Red shoe\",\"price\":12.5");
    await("/v1/recommend/u2", "\"item_id\":\"a\",\"title\":\"Red shoe\"");
    item_send("a", "Red shoe", true);
    await("/v1/items/a", "\"hidden\":true");
    await("/v1/items?query=red", "{\"items\":[]}");
    expect("/v1/recommend/u2", 200, "\"item_id\":\"b\"");
    CHECK(!strstr(answer, "\"item_id\":\"a\""));
    send_to("items", "a", NULL);
    await("/v1/recommend/u2", "\"item_id\":\"a\"");
    expect("/v1/items/a", 404, "no item a");
}

static void related_and_trending_are_served(void)
{
    related_send();
    trending_send();
    await("/v1/related/a", "\"kind\":\"also_bought\",\"items\":[{\"item_id\":\"b\"");
    expect("/v1/related/a?kind=bought_together", 200, "\"items\":[]");
    expect("/v1/related/a?kind=nonsense", 400, "kind");
    CHECK_INT(ask("POST", "/v1/related?kind=also_bought", "{\"items\":[\"a\",\"b\"]}"), 200);
    CHECK_CONTAINS(answer, "\"items\":[{\"item_id\":\"c\"");
    await("/v1/trending", "\"item_id\":\"hot\"");
    expect("/v1/recommend/nobody", 200, "\"fallback\":\"trending\"");
    CHECK_CONTAINS(answer, "{\"kind\":\"trending\"}");
}

static void events_come_back_as_neighbours(void)
{
    CHECK_INT(ask("POST", "/v1/events",
                  "[{\"event_type\":\"view\",\"user_id\":\"n1\",\"items\":[\"p\"]},"
                  "{\"event_type\":\"view\",\"user_id\":\"n1\",\"items\":[\"q\"],\"event_id\":"
                  "\"mine\"}]"),
              202);
    CHECK_CONTAINS(answer, "\"accepted\":2");
    CHECK_CONTAINS(answer, "\"mine\"]");
    uint64_t until = clock_mono_ns() + (uint64_t)WAIT_MS * 1000000;
    do {
        CHECK_INT(ask("POST", "/v1/session", "{\"items\":[\"p\"]}"), 200);
    } while (!strstr(answer, "\"item_id\":\"q\"") && clock_mono_ns() < until);
    CHECK_CONTAINS(answer, "\"item_id\":\"q\"");
    CHECK_CONTAINS(answer, "similar_sessions");
    CHECK(!strstr(answer, "\"item_id\":\"p\""));
    CHECK_INT(ask("POST", "/v1/session?repeats=true", "{\"items\":[\"p\"]}"), 200);
    CHECK_CONTAINS(answer, "\"item_id\":\"p\"");
    CHECK_INT(ask("POST", "/v1/session", "{\"items\":"), 400);
    CHECK_INT(ask("POST", "/v1/events", "{\"event_type\":\"view\",\"items\":[\"p\"]}"), 400);
    CHECK_CONTAINS(answer, "user_id");
    CHECK_INT(
        ask("POST", "/v1/events", "{\"event_type\":\"viw\",\"user_id\":\"u\",\"items\":[\"p\"]}"),
        400);
    CHECK_CONTAINS(answer, "event_type \\\"viw\\\" is not known");
    CHECK_INT(ask("POST", "/v1/events", "[]"), 400);
}

/* What a list loses to the catalogue is made up from what trends, said so item by item and as a number. */
static void lists_are_filled(void)
{
    list_send("u4", STR(""), STR("u4"), "k", "l");
    await("/v1/recommend/u4", "\"item_id\":\"l\"");
    CHECK_CONTAINS(answer, "\"fallback\":null,\"filled\":0}");
    item_send("k", "Blue shoe", true);
    await("/v1/recommend/u4", "\"filled\":1}");
    CHECK_CONTAINS(answer, "\"items\":[{\"item_id\":\"l\"");
    CHECK_CONTAINS(answer,
                   "{\"item_id\":\"hot\",\"score\":9,\"reasons\":[{\"kind\":\"trending\"}]}");
    CHECK_CONTAINS(answer, "\"fallback\":null");
    CHECK(!strstr(answer, "\"item_id\":\"k\""));
    expect("/v1/recommend/u4?fallback=false", 200, "\"filled\":0}");
    CHECK(!strstr(answer, "\"item_id\":\"hot\""));
    expect("/v1/recommend/u4?n=1", 200, "\"filled\":0}"); /* has one still */
    item_send("l", "Blue hat", true);
    await("/v1/recommend/u4", "\"fallback\":\"trending\",\"filled\":0}");
    CHECK(!strstr(answer, "\"item_id\":\"l\""));
    expect("/v1/recommend/u4?fallback=false", 404, "no list for user u4");
}

static void rules_put(const char *text)
{
    char path[sizeof folder + 16], new[sizeof folder + 16];
    (void)snprintf(path, sizeof path, "%s/rules.json", folder);
    (void)snprintf(new, sizeof new, "%s/rules.new", folder);
    FILE *file = fopen(new, "w");
    CHECK(file != NULL);
    fprintf(file, "{\"rules\": [%s]}\n", text);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(rename(new, path), 0);
}

/* Until the answer does not hold the part any more. */
static void await_gone(const char *path, const char *part)
{
    uint64_t until = clock_mono_ns() + (uint64_t)WAIT_MS * 1000000;
    do {
        (void)ask("GET", path, NULL);
    } while (strstr(answer, part) && clock_mono_ns() < until);
    CHECK(!strstr(answer, part));
    CHECK_CONTAINS(answer, "200 OK");
}

/* What the server lists by itself has been through the hard rules, with the context that the question names; a list of the topic went
 * through them where it was made. */
static void hard_rules_hold_for_what_is_made_here(void)
{
    static const char hot[] = "\"item_id\":\"hot\"", q[] = "\"item_id\":\"q\"";
    static const char at_home[] = "{\"items\":[\"p\"]}",
                      in_norway[] = "{\"items\":[\"p\"],\"context\":{\"region\":\"NO\"}}";
    list_send("u5", STR(""), STR("u5"), "hot", "e");
    /* Its own list: the fallback that is given before has the item too. */
    await("/v1/recommend/u5", "\"recommendation_id\":\"r1\"");
    CHECK_CONTAINS(answer, hot);
    expect("/v1/recommend/nobody", 200, hot);
    rules_put("{\"exclude\":{\"item\":\"hot\"}},"
              "{\"exclude\":{\"item\":\"q\"},\"when\":{\"context\":{\"region\":\"NO\"}}}");
    await_gone("/v1/recommend/nobody", hot);
    expect("/v1/recommend/u5", 200, hot);
    CHECK_INT(ask("POST", "/v1/session", at_home), 200);
    CHECK_CONTAINS(answer, q);
    CHECK_INT(ask("POST", "/v1/session", in_norway), 200);
    CHECK(!strstr(answer, q));
    item_send("hot", "Hot and known", false); /* from here on by the bits of its record */
    item_send("q", "Cue", false);
    await("/v1/items/q", "Cue");
    await("/v1/items/hot", "Hot and known");
    expect("/v1/recommend/nobody", 200, "\"items\":[");
    CHECK(!strstr(answer, hot));
    CHECK_INT(ask("POST", "/v1/session", in_norway), 200);
    CHECK(!strstr(answer, q));
    rules_put("");
    await("/v1/recommend/nobody", hot);
    CHECK_INT(ask("POST", "/v1/session", in_norway), 200);
    CHECK_CONTAINS(answer, q);
}

static void count(void *context)
{
    (void)sync_int_add(context, 1);
}

/* Ready is not taken back because an event has just come and waits for its turn. */
static void caught_up_stays(void)
{
    struct err err = ERR_INIT;
    struct sync_int woken = {0};
    struct clicks *clicks;
    struct buf value;
    struct sessions *sessions = sessions_new(&settings, NULL);
    CHECK_OK(clicks_open(&clicks, &settings, schemas, count, &woken, &err), err);
    while (!clicks_is_caught_up(clicks))
        (void)clicks_give(clicks, sessions, 1000000);
    int64_t before = sync_int_get(&woken);
    buf_init(&value, 100);
    buf_push_text(&value, "whatever");
    send_to(settings.topics[0], "n2", &value);
    while (sync_int_get(&woken) == before)
        sync_sleep_ms(1);
    CHECK(clicks_is_caught_up(clicks));
    await("/metrics", "\nfreshet_session_events_refused_total 1\n");
    buf_fini(&value);
    clicks_close(clicks);
    sessions_free(sessions);
}

/* Another life of the server finds what was there, and reads on behind it. */
static void a_view_goes_on(void)
{
    server_stop();
    list_send("u3", STR(""), STR("u3"), "d", "e");
    server_start();
    await("/readyz", "200 OK");
    expect("/v1/recommend/u3", 200, "\"item_id\":\"d\"");
    expect("/v1/recommend/u2", 200, "\"item_id\":\"a\"");
    expect("/health", 200, "healthy");
    expect("/v1/users/u1", 404, "freshet run");
    expect("/metrics", 200, "freshet_view_ready 1");
}

/* Four items in two of 16 dimensions; "green" is the first of these, "red" the second. */
static void model_put(const char *path)
{
    struct err err = ERR_INIT;
    struct model_config config = {.N = 4, .D = 16, .H = 16, .L = 1, .F = 16, .n_content = 2};
    static const float rows[4][2] = {{0.1F, 1}, {1, 0.1F}, {1, 0.5F}, {0, 1}};
    const struct str ids[] = {STR("a"), STR("m1"), STR("m2"), STR("m3")};
    const struct str content[] = {STR("word:green"), STR("word:red")};
    float *params = mem_zalloc(model_params_floats(&config) * sizeof *params);
    struct model *model;
    model_params_init(&config, 1, params);
    float *items = params + model_param_offset(&config, MODEL_ITEM_EMBEDDING, 0);
    float *features = params + model_param_offset(&config, MODEL_CONTENT_EMBEDDING, 0);
    memset(items, 0, 4 * 16 * sizeof *items);
    memset(features, 0, 2 * 16 * sizeof *features);
    for (int i = 0; i < 4; i++)
        memcpy(items + i * 16, rows[i], sizeof rows[i]);
    features[0] = features[16 + 1] = 1;
    struct model_parts parts = {.config = config,
                                .params = params,
                                .item_ids = ids,
                                .content = content,
                                .tenant = "",
                                .version = ""};
    CHECK_OK(model_from_params(&model, &parts, &err), err);
    CHECK_OK(model_save(model, path, &err), err);
    model_free(model);
    mem_free(params);
}

/* What nobody bought yet, or hardly anybody, gets items like it; they are told apart, and hidden ones are none of them. */
static void new_items_have_items_like_them(void)
{
    struct err err = ERR_INIT;
    char path[sizeof folder + 8];
    (void)snprintf(path, sizeof path, "%s/model", folder);
    model_put(path);
    const struct models_options watched = {.folder = path, .interval_ms = 0};
    expect("/v1/related/fresh", 200, "\"items\":[]");
    server_stop();
    CHECK_OK(models_open(&models, &watched, &err), err);
    server_start();
    item_send("fresh", "Green boot", false);
    await("/v1/items/fresh", "Green boot");
    expect("/v1/related/fresh", 200, "\"items\":[{\"item_id\":\"m1\"");
    CHECK_CONTAINS(answer, "{\"item_id\":\"m2\"");
    CHECK(!strstr(answer, "m3")); /* at a right angle */
    CHECK_CONTAINS(answer, "\"fallback\":\"content\",\"filled\":0");
    expect("/v1/related/fresh?fallback=false", 200, "\"items\":[]");
    CHECK_CONTAINS(answer, "\"fallback\":null,\"filled\":0");
    expect("/v1/related/fresh?n=1", 200, "\"items\":[{\"item_id\":\"m1\"");
    CHECK(!strstr(answer, "m2"));
    expect("/v1/related/a?kind=also_bought", 200, "\"items\":[{\"item_id\":\"b\"");
    CHECK_CONTAINS(answer, "{\"item_id\":\"m3\"");
    CHECK_CONTAINS(answer, "\"fallback\":null,\"filled\":");
    CHECK(!strstr(answer, "\"filled\":0"));
    expect("/v1/related/nothing", 200, "\"items\":[]"); /* nothing is known of it */
    item_send("m1", "Green shoe", true);
    await("/v1/items/m1", "\"hidden\":true");
    expect("/v1/related/fresh", 200, "\"items\":[{\"item_id\":\"m2\"");
}

static void set(const char *name, const char *value)
{
    struct err err = ERR_INIT;
    CHECK_OK(options_set(options, name, value, "test", &err), err);
}

static void settings_make(void)
{
    struct err err = ERR_INIT;
    char rules[sizeof folder + 16];
    options = options_new(app_config_specs, app_config_count);
    set("application.id", "http");
    set("bootstrap.servers", kafka_embedded_bootstrap(broker));
    set("state.dir", folder);
    set("events.topics", "events");
    set("recommendations.topic", "lists");
    set("related.topic", "related");
    set("trending.topic", "trending");
    set("items.topic", "items");
    set("http.view.memory.bytes", "4MiB");
    set("rules.check.interval.ms", "100");
    rules_put("");
    (void)snprintf(rules, sizeof rules, "%s/rules.json", folder);
    set("rules.file", rules);
    CHECK_OK(settings_init(&settings, options, &err), err);
    CHECK_OK(schemas_open(&schemas, &settings.schemas, &err), err);
}

int main(void)
{
    const struct kafka_topic_spec specs[] = {{"events", 2, 1, false, 0, 0},
                                             {"lists", 2, 1, true, 0, 0},
                                             {"related", 2, 1, true, 0, 0},
                                             {"trending", 2, 1, true, 0, 0},
                                             {"items", 2, 1, true, 0, 0}};
    struct err err = ERR_INIT;
    char command[64];
    CHECK(mkdtemp(folder));
    CHECK_OK(kafka_embedded_start(&broker, specs, 5, &err), err);
    settings_make();
    server_start();
    CASE(lists_come_from_their_topic);
    CASE(items_go_from_all_answers);
    CASE(related_and_trending_are_served);
    CASE(lists_are_filled);
    CASE(events_come_back_as_neighbours);
    CASE(hard_rules_hold_for_what_is_made_here);
    CASE(caught_up_stays);
    CASE(a_view_goes_on);
    CASE(new_items_have_items_like_them);
    server_stop();
    models_close(models);
    schemas_close(schemas);
    settings_fini(&settings);
    options_free(options);
    kafka_embedded_stop(broker);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}
