/* The HTTP client of a Confluent-compatible schema registry.
 *
 * One connection, kept alive, used by one thread at a time (the lock of schemas.c). What the registry says is bounded
 * and checked. The class of an error keeps events safe: only the registry's own "there is no such schema" condemns a
 * record; silence, garbage, a wrong base URL or refused credentials make the caller wait (ERR_RETRY). */
#include "schemas/internal.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URLS_MAX = 8, ANSWER_MAX = 2 * SCHEMAS__TEXT_MAX };

struct registry {
    CURL *curl;
    struct curl_slist *headers;
    char *urls[URLS_MAX];  /* as given, without a '/' at the end */
    char *shown[URLS_MAX]; /* without user and password, for messages */
    int n_urls;
    char *user;
    int timeout_ms;
    struct buf answer;
    char error[CURL_ERROR_SIZE];
};

/* What a request came to. `where` is "GET http://host/path". */
struct answer {
    long status;  /* HTTP; 0: none came */
    json_t *json; /* NULL: not JSON */
    char where[256];
};

/* ---- open and close ---- */

/* One of a comma-separated list; blanks and a '/' at its end go. Over URLS_MAX are ignored. */
static void add_url(struct registry *r, const char *text, size_t len)
{
    while (len && (*text == ' ' || *text == '\t'))
        text++, len--;
    while (len && (text[len - 1] == '/' || text[len - 1] == ' '))
        len--;
    if (len == 0 || r->n_urls == URLS_MAX) return;
    char *url = mem_strndup(text, len);
    char *host = strstr(url, "://");
    char *at = host ? strchr(host, '@') : NULL;
    r->urls[r->n_urls] = url;
    struct buf shown;
    buf_init(&shown, len + 1);
    buf_push(&shown, url, host && at ? (size_t)(host + 3 - url) : 0);
    buf_push_text(&shown, host && at ? at + 1 : url);
    r->shown[r->n_urls++] = mem_strndup((const char *)shown.data, shown.len);
    buf_fini(&shown);
}

struct registry *schemas__registry_new(const char *url, const char *user, int timeout_ms)
{
    struct registry *r = mem_zalloc(sizeof *r);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    r->timeout_ms = timeout_ms > 0 ? timeout_ms : 5000;
    if (user && user[0]) r->user = mem_strdup(user);
    buf_init(&r->answer, ANSWER_MAX);
    while (*url) {
        size_t len = strcspn(url, ",");
        add_url(r, url, len);
        url += len + (url[len] == ',');
    }
    r->headers = curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    r->headers = curl_slist_append(r->headers, "Accept: application/vnd.schemaregistry.v1+json, "
                                               "application/json");
    r->headers = curl_slist_append(r->headers, "Expect:");
    r->curl = curl_easy_init();
    return r;
}

void schemas__registry_free(struct registry *r)
{
    if (!r) return;
    curl_easy_cleanup(r->curl);
    curl_slist_free_all(r->headers);
    for (int i = 0; i < r->n_urls; i++) {
        mem_free_text(r->urls[i]);
        mem_free(r->shown[i]);
    }
    mem_free_text(r->user);
    buf_fini(&r->answer);
    mem_free(r);
    curl_global_cleanup();
}

/* ---- requests ---- */

/* curl's callback; returning less than it gave ends the transfer. */
static size_t on_bytes(char *bytes, size_t one, size_t n, void *context)
{
    struct registry *r = context;
    buf_push(&r->answer, bytes, one * n);
    return r->answer.failed ? 0 : one * n;
}

/* All of them for each request: nothing lingers from the one before. The timeouts are absolute, so that a registry that
 * drips bytes cannot hold a shard's thread. */
static void set_options(struct registry *r, const char *body)
{
    CURL *curl = r->curl;
    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* none from the environment */
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->error);
    if (r->user) (void)curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    if (r->user) (void)curl_easy_setopt(curl, CURLOPT_USERPWD, r->user);
    if (body) (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
}

/* One URL after the other until one answers. false: none did; the reason stands in r->error. */
static bool request(struct registry *r, const char *path, const char *body, struct answer *answer)
{
    *answer = (struct answer){0};
    if (r->n_urls == 0) (void)snprintf(r->error, sizeof r->error, "no URL");
    for (int i = 0; i < r->n_urls; i++) {
        char url[1024];
        (void)snprintf(answer->where, sizeof answer->where, "%s %s%s", body ? "POST" : "GET",
                       r->shown[i], path);
        int len = snprintf(url, sizeof url, "%s%s", r->urls[i], path);
        if (len < 0 || (size_t)len >= sizeof url) {
            (void)snprintf(r->error, sizeof r->error, "the URL is too long");
            continue;
        }
        buf_reset(&r->answer);
        r->error[0] = 0;
        set_options(r, body);
        (void)curl_easy_setopt(r->curl, CURLOPT_URL, url);
        CURLcode code = curl_easy_perform(r->curl);
        if (code == CURLE_OK) {
            (void)curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &answer->status);
            answer->json = json_loadb((const char *)r->answer.data, r->answer.len, 0, NULL);
            return true;
        }
        if (!r->error[0]) (void)snprintf(r->error, sizeof r->error, "%s", curl_easy_strerror(code));
        if (r->answer.failed)
            (void)snprintf(r->error, sizeof r->error, "the answer is over %d bytes",
                           (int)ANSWER_MAX);
    }
    return false;
}

/* The registry's own words, for a message. */
static const char *message_of(const struct answer *answer)
{
    const char *text = json_string_value(json_object_get(answer->json, "message"));
    return text ? text : answer->json ? "no message" : "the answer is not JSON";
}

/* ---- GET /schemas/ids/{id} ---- */

/* The schema out of an answer with status 200. Only what the registry says of the schema itself is ERR_DATA. */
static bool take_schema(const struct answer *answer, struct buf *out, struct err *err)
{
    const json_t *text = json_object_get(answer->json, "schema");
    const char *type = json_string_value(json_object_get(answer->json, "schemaType"));
    if (!json_is_string(text))
        return err_set(err, ERR_RETRY,
                       "schema registry: %s: the answer is not {\"schema\": \"...\"}; does "
                       "schema.registry.url point to a schema registry?",
                       answer->where);
    if (type && strcmp(type, "AVRO") != 0)
        return err_set(err, ERR_DATA,
                       "schema registry: %s: the schema is %.20s, only AVRO is supported",
                       answer->where, type);
    if (json_array_size(json_object_get(answer->json, "references")) > 0)
        return err_set(err, ERR_DATA,
                       "schema registry: %s: the schema has references, which are not supported; "
                       "register it as one self-contained schema",
                       answer->where);
    if (json_string_length(text) > SCHEMAS__TEXT_MAX)
        return err_set(err, ERR_DATA,
                       "schema registry: %s: the schema has %zu bytes, the limit is %d",
                       answer->where, json_string_length(text), (int)SCHEMAS__TEXT_MAX);
    buf_push(out, json_string_value(text), json_string_length(text));
    return true;
}

/* A 404 of the registry itself says its error code; one of something else in its place does not. */
static bool is_unknown(const struct answer *answer)
{
    return answer->status == 404 && json_is_integer(json_object_get(answer->json, "error_code"));
}

bool schemas__registry_get(struct registry *r, int32_t id, struct buf *out, struct err *err)
{
    char path[64];
    struct answer answer;
    bool ok = false;
    (void)snprintf(path, sizeof path, "/schemas/ids/%d", (int)id);
    if (!request(r, path, NULL, &answer))
        return err_set(
            err, ERR_RETRY,
            "schema registry: %s: no answer: %s; is it up, and is schema.registry.url right?",
            answer.where, r->error);
    if (answer.status == 200)
        ok = take_schema(&answer, out, err);
    else if (is_unknown(&answer))
        (void)err_set(err, ERR_DATA,
                      SCHEMAS_UNKNOWN_ID " %d: %s: status 404: %.100s; was the event written with "
                                         "another registry?",
                      (int)id, answer.where, message_of(&answer));
    else if (answer.status == 401 || answer.status == 403)
        (void)err_set(err, ERR_RETRY,
                      "schema registry: %s: status %ld: the credentials are refused; check "
                      "basic.auth.user.info",
                      answer.where, answer.status);
    else
        (void)err_set(err, ERR_RETRY,
                      "schema registry: %s: status %ld: %.100s; check schema.registry.url",
                      answer.where, answer.status, message_of(&answer));
    json_decref(answer.json);
    return ok;
}

/* ---- subjects ---- */

/* "/subjects/<escaped><tail>". */
static void subject_path(struct registry *r, const char *subject, const char *tail, char *path,
                         size_t cap)
{
    char *escaped = curl_easy_escape(r->curl, subject, 0);
    (void)snprintf(path, cap, "/subjects/%s%s", escaped ? escaped : "", tail);
    curl_free(escaped);
}

/* Anything but 200: what an operator has to do. */
static bool refused(const struct answer *answer, const char *subject, struct err *err)
{
    const char *hint = "check schema.registry.url";
    if (answer->status == 401 || answer->status == 403)
        hint =
            "the credentials are refused; check basic.auth.user.info and the rights on the subject";
    if (answer->status == 409)
        hint = "the subject holds a schema that ours is not compatible with; use another topic, or "
               "set the subject's compatibility";
    if (answer->status == 422) hint = "the registry says that the schema is not valid";
    enum err_exit code = answer->status >= 500 ? ERR_EXIT_UNREACHABLE : ERR_EXIT_USAGE;
    return err_fatal(err, code, "schema registry: subject %s: %s: status %ld: %.100s; %s", subject,
                     answer->where, answer->status, message_of(answer), hint);
}

/* At start nothing can go on without the registry, and a supervisor may try again later: exit 4. */
static bool unreachable(const struct registry *r, const struct answer *answer, struct err *err)
{
    return err_fatal(
        err, ERR_EXIT_UNREACHABLE,
        "schema registry: %s: no answer: %s; is it up, and is schema.registry.url right?",
        answer->where, r->error);
}

/* Ids are 31 bits, as in the framing. */
static bool take_id(const struct answer *answer, int32_t *id, struct err *err)
{
    const json_t *json = json_object_get(answer->json, "id");
    json_int_t v = json_integer_value(json);
    if (!json_is_integer(json) || v < 0 || v > INT32_MAX)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "schema registry: %s: the answer has no id; does schema.registry.url point "
            "to a schema registry?",
            answer->where);
    *id = (int32_t)v;
    return true;
}

/* POST of {"schema": text} to the subject. */
static bool post_schema(struct registry *r, const char *subject, const char *tail, const char *text,
                        struct answer *answer, struct err *err)
{
    char path[512];
    json_t *request_json = json_pack("{s:s}", "schema", text);
    char *body = json_dumps(request_json, JSON_COMPACT);
    json_decref(request_json);
    subject_path(r, subject, tail, path, sizeof path);
    bool ok = request(r, path, body, answer);
    free(body); /* foreign: jansson allocated it */
    return ok || unreachable(r, answer, err);
}

bool schemas__registry_post(struct registry *r, const char *subject, const char *text, int32_t *id,
                            struct err *err)
{
    struct answer answer;
    if (!post_schema(r, subject, "/versions", text, &answer, err)) return false;
    bool ok = answer.status == 200 ? take_id(&answer, id, err) : refused(&answer, subject, err);
    json_decref(answer.json);
    return ok;
}

bool schemas__registry_find(struct registry *r, const char *subject, const char *text, bool *found,
                            int32_t *id, struct err *err)
{
    struct answer answer;
    if (!post_schema(r, subject, "", text, &answer, err)) return false;
    *found = answer.status == 200;
    bool ok =
        *found ? take_id(&answer, id, err) : is_unknown(&answer) || refused(&answer, subject, err);
    json_decref(answer.json);
    return ok;
}

bool schemas__registry_latest(struct registry *r, const char *subject, bool *found, int32_t *id,
                              struct buf *out, struct err *err)
{
    char path[512];
    struct answer answer;
    subject_path(r, subject, "/versions/latest", path, sizeof path);
    if (!request(r, path, NULL, &answer)) return unreachable(r, &answer, err);
    bool ok = true;
    *found = answer.status == 200;
    if (*found)
        ok = take_id(&answer, id, err) && take_schema(&answer, out, err);
    else if (!is_unknown(&answer))
        ok = refused(&answer, subject, err);
    if (!ok &&
        err->class != ERR_FATAL) { /* take_schema speaks for events; here nothing can go on */
        err->class = ERR_FATAL;
        err->exit_code = ERR_EXIT_USAGE;
    }
    json_decref(answer.json);
    return ok;
}
