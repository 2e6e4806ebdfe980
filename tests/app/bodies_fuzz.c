/* Bodies of POST /v1/events, one event or an array: events that are clean and written as a record of the topic, or a text that says
 * which of them is none. */
#include <stdlib.h>

#include "app/app.h"
#include "app/http_internal.h"
#include "base/log.h"

/* LINK: libuv */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http http;
static struct settings settings;
static struct buf out;

static void start(void)
{
    struct err err = ERR_INIT;
    const struct schemas_options avro = {.events_format = FORMAT_AVRO};
    const struct schemas_options json = {.events_format = FORMAT_JSON};
    static struct options *options;
    if (options) return;
    log_init(LOG_LOGFMT, LOG_ERROR, "");
    options = options_new(app_config_specs, app_config_count);
    settings.options = options;
    http.options.settings = &settings;
    http.arena = arena_new(64 * 1024, 256 << 20);
    if (!schemas_open(&http.schemas, &avro, &err) || !schemas_open(&http.json, &json, &err))
        abort();
    buf_init(&out, 4 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event events[HTTP_POST_EVENTS_MAX];
    struct err err = ERR_INIT;
    struct event back;
    start();
    arena_reset(http.arena);
    int n = http__events_read(&http, (struct str){(const char *)data, size}, events, &err);
    if (n > HTTP_POST_EVENTS_MAX || (n < 0) != (err.class == ERR_DATA) || n == 0) abort();
    if (n < 0 && err.text[0] == '\0') abort();
    for (int i = 0; i < n; i++) {
        if (events[i].event_id.len == 0 || events[i].time_ms <= 0) abort();
        buf_reset(&out);
        schemas_event_encode(http.schemas, &events[i], &out);
        struct str record = {(const char *)out.data, out.len};
        if (out.failed || out.len > SCHEMAS_MESSAGE_MAX) continue;
        if (!schemas_event_decode(http.schemas, record, http.arena, &back, &err)) abort();
    }
    return 0;
}
