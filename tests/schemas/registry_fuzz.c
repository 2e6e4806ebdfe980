/* What a registry answers: any status and bytes to each of our four questions. The HTTP client is left out: this file stands in for
 * curl's three calls. The first byte chooses question and status. An answer is a schema, an id, an error with a text, never both. */
#include <curl/curl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/internal.h"

/* LINK: libcurl */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct str body;
static long status;
static curl_write_callback give;
static void *give_context;

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    va_list args;
    (void)curl;
    va_start(args, option);
    if (option == CURLOPT_WRITEFUNCTION) give = va_arg(args, curl_write_callback);
    if (option == CURLOPT_WRITEDATA) give_context = va_arg(args, void *);
    va_end(args);
    return CURLE_OK;
}

CURLcode curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
    va_list args;
    (void)curl;
    va_start(args, info);
    if (info == CURLINFO_RESPONSE_CODE) *va_arg(args, long *) = status;
    va_end(args);
    return CURLE_OK;
}

/* In pieces, as a network gives it. */
CURLcode curl_easy_perform(CURL *curl)
{
    (void)curl;
    for (size_t at = 0, n; at < body.len; at += n) {
        char piece[64];
        n = body.len - at < sizeof piece ? body.len - at : sizeof piece;
        memcpy(piece, body.ptr + at, n);
        if (give(piece, 1, n, give_context) != n) return CURLE_WRITE_ERROR;
    }
    return CURLE_OK;
}

static bool ask(struct registry *registry, int question, struct buf *out, struct err *err)
{
    int32_t id = 0;
    bool found = false, ok;
    switch (question) {
    case 0:
        return schemas__registry_get(registry, 7, out, err);
    case 1:
        ok = schemas__registry_post(registry, "shop.events-value", "\"string\"", &id, err);
        break;
    case 2:
        ok = schemas__registry_find(registry, "shop.events-value", "\"string\"", &found, &id, err);
        break;
    default:
        ok = schemas__registry_latest(registry, "shop.events-value", &found, &id, out, err);
    }
    if (ok && id < 0) abort();
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 404, 401, 409, 422, 500, 302, 0};
    static struct registry *registry;
    struct err err = ERR_INIT;
    struct buf out;
    if (size == 0) return 0;
    if (!registry)
        registry = schemas__registry_new("http://user:word@a.example/, http://b", "user:word", 100);
    body = (struct str){(const char *)data + 1, size - 1};
    status = statuses[data[0] / 4 % (sizeof statuses / sizeof statuses[0])];
    buf_init(&out, SCHEMAS__TEXT_MAX);
    bool ok = ask(registry, data[0] % 4, &out, &err);
    if (ok != (err.class == ERR_NONE) || ok == (err.text[0] != '\0')) abort();
    buf_fini(&out);
    return 0;
}
