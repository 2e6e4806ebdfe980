/* Time of one decode and of one encode, in us. Usage: codec_bench [rounds]
 *
 * The event has one item and the fields that a shop's page sends; the list has 20 items with one reason each. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "schemas/schemas.h"

enum { LIST_ITEMS = 20 };

struct bench {
    struct schemas *avro;
    struct schemas *json;
    struct arena *arena;
    struct buf event_bytes, event_json, list_bytes, out;
    struct event event;
    struct recommendations list;
};

static struct str bytes_of(const struct buf *buf)
{
    return (struct str){(const char *)buf->data, buf->len};
}

static void must(bool ok, const struct err *err)
{
    if (ok) return;
    (void)fprintf(stderr, "codec_bench: %s\n", err->text);
    exit(1);
}

static void event_decode(struct bench *b)
{
    struct err err = ERR_INIT;
    struct event event;
    must(schemas_event_decode(b->avro, bytes_of(&b->event_bytes), b->arena, &event, &err), &err);
}

static void json_decode(struct bench *b)
{
    struct err err = ERR_INIT;
    struct event event;
    must(schemas_event_decode(b->json, bytes_of(&b->event_json), b->arena, &event, &err), &err);
}

static void list_decode(struct bench *b)
{
    struct err err = ERR_INIT;
    struct recommendations list;
    must(schemas_recommendations_decode(b->avro, bytes_of(&b->list_bytes), b->arena, &list, &err),
         &err);
}

static void event_encode(struct bench *b)
{
    schemas_event_encode(b->avro, &b->event, &b->out);
}

static void list_encode(struct bench *b)
{
    schemas_recommendations_encode(b->avro, &b->list, &b->out);
}

static void list_encode_json(struct bench *b)
{
    schemas_recommendations_encode_json(&b->list, &b->out);
}

/* The best of five runs: what the code costs when nothing else runs. */
static void measure(struct bench *b, const char *name, void (*step)(struct bench *), long rounds)
{
    double best = 1e30;
    for (int run = 0; run < 5; run++) {
        uint64_t start = clock_mono_ns();
        for (long i = 0; i < rounds; i++) {
            arena_reset(b->arena);
            buf_reset(&b->out);
            step(b);
        }
        double us = (double)(clock_mono_ns() - start) / 1000.0 / (double)rounds;
        if (us < best) best = us;
    }
    printf("%-24s %8.3f us\n", name, best);
}

static void fill(struct bench *b, struct event_item *item, struct list_item *items)
{
    static char names[LIST_ITEMS][16];
    *item = (struct event_item){.item_id = STR("item-004711"),
                                .quantity = 1,
                                .price = 12.5,
                                .position = 3,
                                .has_price = true};
    b->event = (struct event){.event_id = STR("0190a5b2-7c1e-7e3a-9b1d-3f2c5e8a9d01"),
                              .type = EVENT_CLICK,
                              .time_ms = 1700000000123,
                              .user_id = STR("user-0000123456"),
                              .session_id = STR("s-99887766"),
                              .items = item,
                              .n_items = 1,
                              .currency = STR("EUR"),
                              .consent = true};
    for (int i = 0; i < LIST_ITEMS; i++) {
        int len = snprintf(names[i], sizeof names[i], "item-%06d", i * 7919);
        items[i] = (struct list_item){
            .item_id = {names[i], (size_t)len}, .n_reasons = 1, .score = 3.0f - 0.1f * (float)i};
        items[i].reasons[0] = (struct reason){REASON_ENCODER, {NULL, 0}};
    }
    b->list = (struct recommendations){.recommendation_id = STR("0123456789abcdef0123456789abcdef"),
                                       .user_id = STR("user-0000123456"),
                                       .scenario = STR("home"),
                                       .items = items,
                                       .n_items = LIST_ITEMS,
                                       .model_version = STR("lru-20260101")};
    b->list.trigger =
        (struct trigger){STR("freshet.events"), 3, 123456789, b->event.event_id, 1700000000123};
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 200000;
    struct bench b = {.arena = arena_new(64 * 1024, 1024 * 1024)};
    struct err err = ERR_INIT;
    struct event_item item;
    struct list_item items[LIST_ITEMS];
    const struct schemas_options avro = {.events_format = FORMAT_AVRO};
    const struct schemas_options json = {.events_format = FORMAT_JSON};
    struct buf *bufs[] = {&b.event_bytes, &b.event_json, &b.list_bytes, &b.out};
    must(schemas_open(&b.avro, &avro, &err), &err);
    must(schemas_open(&b.json, &json, &err), &err);
    for (size_t i = 0; i < 4; i++)
        buf_init(bufs[i], 64 * 1024);
    fill(&b, &item, items);
    schemas_event_encode(b.avro, &b.event, &b.event_bytes);
    schemas_event_encode_json(&b.event, &b.event_json);
    schemas_recommendations_encode(b.avro, &b.list, &b.list_bytes);
    printf("event %zu bytes Avro, %zu JSON; list of %d %zu bytes\n", b.event_bytes.len,
           b.event_json.len, (int)LIST_ITEMS, b.list_bytes.len);
    measure(&b, "event decode", event_decode, rounds);
    measure(&b, "event decode JSON", json_decode, rounds / 10 + 1);
    measure(&b, "event encode", event_encode, rounds);
    measure(&b, "list encode", list_encode, rounds);
    measure(&b, "list decode", list_decode, rounds);
    measure(&b, "list encode JSON", list_encode_json, rounds / 10 + 1);
    for (size_t i = 0; i < 4; i++)
        buf_fini(bufs[i]);
    arena_free(b.arena);
    schemas_close(b.avro);
    schemas_close(b.json);
    return 0;
}
