/* The parser: requests that are taken, and those that are in any doubt. Each is fed whole, cut in two at every byte, and byte by
 * byte; what comes out must be the same. */
#include "serve/internal.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/serve/vectors.h"
#include "tests/test.h"

/* LINK: libuv llhttp */

enum { HEAD_MAX = 512, BODY_MAX = 256 };

/* ---- feeding ---- */

/* What comes out for bytes in pieces of the given lengths (the last for all that is left). */
static void describe(struct serve__parser *parser, struct buf *out)
{
    buf_push_format(out, "%s %.*s %d [%.*s] ",
                    llhttp_method_name((llhttp_method_t)parser->http.method),
                    STR_ARG(parser->target), parser->n_headers, STR_ARG(parser->body));
}

/* false: refused. */
static bool turn_all(struct serve__parser *parser, struct buf *out)
{
    for (;;) {
        switch (serve__parser_turn(parser)) {
        case SERVE__PARSED_MORE:
            return true;
        case SERVE__PARSED_HEAD:
            CHECK(parser->head_len > 0 && parser->head_len <= HEAD_MAX);
            break;
        case SERVE__PARSED_DONE:
            describe(parser, out);
            serve__parser_next(parser);
            break;
        case SERVE__PARSED_BAD:
            CHECK(parser->bad_text != NULL && parser->bad_text[0] != '\0');
            buf_push_format(out, "%d", parser->bad_status);
            CHECK_INT(serve__parser_turn(parser), SERVE__PARSED_BAD);
            return false;
        }
    }
}

static const char *feed(struct serve__parser *parser, const char *bytes, size_t len, size_t first,
                        size_t each, struct buf *out)
{
    buf_reset(out);
    serve__parser_reset(parser);
    for (size_t at = 0, n = first; at < len; at += n, n = each) {
        size_t room;
        char *to = serve__parser_room(parser, &room);
        if (n > len - at) n = len - at;
        CHECK(to != NULL && room >= n);
        memcpy(to, bytes + at, n);
        parser->filled += n;
        if (!turn_all(parser, out)) break;
    }
    buf_push_byte(out, '\0');
    return (const char *)out->data;
}

static void check_vector(struct serve__parser *parser, const struct vector *vector, struct buf *out)
{
    size_t len = strlen(vector->bytes);
    const char *got = feed(parser, vector->bytes, len, len, len, out);
    if (strcmp(got, vector->want) != 0)
        test_fail(__FILE__, __LINE__, "%s: \"%s\", not \"%s\"", vector->name, got, vector->want);
    for (size_t cut = 1; cut < len; cut++) {
        got = feed(parser, vector->bytes, len, cut, len, out);
        if (strcmp(got, vector->want) != 0)
            test_fail(__FILE__, __LINE__, "%s, cut at %zu: \"%s\", not \"%s\"", vector->name, cut,
                      got, vector->want);
    }
    got = feed(parser, vector->bytes, len, 1, 1, out);
    if (strcmp(got, vector->want) != 0)
        test_fail(__FILE__, __LINE__, "%s, byte by byte: \"%s\", not \"%s\"", vector->name, got,
                  vector->want);
}

static void all_vectors(void)
{
    struct serve__parser parser;
    struct buf out;
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&out, 4096);
    for (size_t i = 0; i < n_vectors; i++)
        check_vector(&parser, &vectors[i], &out);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

/* ---- limits ---- */

static void push_times(struct buf *buf, const char *text, int n)
{
    for (int i = 0; i < n; i++)
        buf_push_text(buf, text);
}

/* The same, whole and byte by byte. */
static void check_limit(struct serve__parser *parser, const struct buf *in, struct buf *out,
                        const char *want)
{
    const char *bytes = (const char *)in->data;
    const char *got = feed(parser, bytes, in->len, in->len, in->len, out);
    size_t n = strlen(want);
    if (strlen(got) < n || strcmp(got + strlen(got) - n, want) != 0)
        test_fail(__FILE__, __LINE__, "\"%s\" does not end in \"%s\"", got, want);
    got = feed(parser, bytes, in->len, 1, 1, out);
    if (strlen(got) < n || strcmp(got + strlen(got) - n, want) != 0)
        test_fail(__FILE__, __LINE__, "byte by byte: \"%s\" does not end in \"%s\"", got, want);
}

/* A head of exactly n bytes. */
static void head_of(struct buf *in, size_t n)
{
    buf_reset(in);
    buf_push_text(in, "GET /a HTTP/1.1\r\n" H "X: ");
    while (in->len < n - 4)
        buf_push_byte(in, 'x');
    buf_push_text(in, "\r\n\r\n");
}

static void head_limit_to_the_byte(void)
{
    struct serve__parser parser;
    struct buf in, out;
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&in, 64 * 1024);
    buf_init(&out, 4096);
    head_of(&in, HEAD_MAX);
    check_limit(&parser, &in, &out, "GET /a 2 [] ");
    head_of(&in, HEAD_MAX + 1);
    check_limit(&parser, &in, &out, "431");
    buf_reset(&in);
    push_times(&in, "\r\n", HEAD_MAX);
    check_limit(&parser, &in, &out, "431");
    buf_reset(&in);
    buf_push_text(&in, "GET /");
    push_times(&in, "a", HEAD_MAX);
    check_limit(&parser, &in, &out, "431");
    buf_fini(&in);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

static void header_lines_limit(void)
{
    struct serve__parser parser;
    struct buf in, out;
    serve__parser_init(&parser, 8192, BODY_MAX);
    buf_init(&in, 64 * 1024);
    buf_init(&out, 4096);
    for (int extra = 0; extra < 2; extra++) {
        buf_reset(&in);
        buf_push_text(&in, "GET /a HTTP/1.1\r\n" H);
        push_times(&in, "X: y\r\n", SERVE__HEADERS_MAX - 1 + extra);
        buf_push_text(&in, "\r\n");
        const char *got = feed(&parser, (const char *)in.data, in.len, 100, 7, &out);
        CHECK_STR(got, extra ? "431" : "GET /a 64 [] ");
    }
    buf_fini(&in);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

static void chunks_of(struct buf *in, int n, int size)
{
    buf_reset(in);
    buf_push_text(in, CHUNKED);
    for (int i = 0; i < n; i++) {
        buf_push_format(in, "%x\r\n", (unsigned)size);
        push_times(in, "z", size);
        buf_push_text(in, "\r\n");
    }
    buf_push_text(in, "0\r\n\r\n");
}

static void body_limit_to_the_byte(void)
{
    struct serve__parser parser;
    struct buf in, out;
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&in, 64 * 1024);
    buf_init(&out, 4096);
    for (int extra = 0; extra < 2; extra++) {
        buf_reset(&in);
        buf_push_format(&in, "POST /x HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n",
                        BODY_MAX + extra);
        push_times(&in, "z", BODY_MAX + extra);
        check_limit(&parser, &in, &out, extra ? "413" : "z] ");
        chunks_of(&in, BODY_MAX / 8, 8);
        if (extra) chunks_of(&in, BODY_MAX / 8 + 1, 8);
        check_limit(&parser, &in, &out, extra ? "413" : "z] ");
    }
    buf_fini(&in);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

/* One byte in each chunk: fewer than the limit of the body, yet refused once the frames cost more than head and body may. */
static void frames_limit(void)
{
    struct serve__parser parser;
    struct buf in, out;
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&in, 64 * 1024);
    buf_init(&out, 4096);
    chunks_of(&in, 100, 1);
    check_limit(&parser, &in, &out, "z] ");
    chunks_of(&in, BODY_MAX - 1, 1);
    const char *got = feed(&parser, (const char *)in.data, in.len, 50, 50, &out);
    CHECK_STR(got, "400");
    /* An extension without end. */
    buf_reset(&in);
    buf_push_text(&in, CHUNKED "3;");
    push_times(&in, "e", 2000);
    got = feed(&parser, (const char *)in.data, in.len, 50, 50, &out);
    CHECK_STR(got, "400");
    buf_fini(&in);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

/* ---- random ---- */

/* Damaged requests, cut at random: the same outcome however they come. */
static void damaged_alike(void)
{
    struct serve__parser parser;
    struct buf whole, parts;
    struct rng rng;
    rng_init(&rng, TEST_SEED());
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&whole, 8192);
    buf_init(&parts, 8192);
    for (int round = 0; round < 20000; round++) {
        const struct vector *vector = &vectors[rng_below(&rng, n_vectors)];
        char bytes[512];
        size_t len = strlen(vector->bytes);
        memcpy(bytes, vector->bytes, len);
        for (int i = (int)rng_below(&rng, 4); i > 0; i--)
            bytes[rng_below(&rng, len)] = "\r\n\t :;,0aZ\x80"[rng_below(&rng, 11)];
        const char *a = feed(&parser, bytes, len, len, len, &whole);
        const char *b =
            feed(&parser, bytes, len, 1 + rng_below(&rng, len), 1 + rng_below(&rng, 9), &parts);
        if (strcmp(a, b) != 0)
            test_fail(__FILE__, __LINE__, "%s, round %d: \"%s\" whole, \"%s\" in parts",
                      vector->name, round, a, b);
    }
    buf_fini(&whole);
    buf_fini(&parts);
    serve__parser_fini(&parser);
}

static void headers_found(void)
{
    struct serve__parser parser;
    struct buf out;
    const char *bytes = "GET /a HTTP/1.1\r\nhOST:  a b \t\r\nX-One: 1\r\nx-one: 2\r\n\r\n";
    serve__parser_init(&parser, HEAD_MAX, BODY_MAX);
    buf_init(&out, 4096);
    memcpy(parser.in, bytes, strlen(bytes));
    parser.filled = strlen(bytes);
    CHECK_INT(serve__parser_turn(&parser), SERVE__PARSED_HEAD);
    const struct str *host = serve__parser_header(&parser, STR("host"));
    CHECK_BYTES(host->ptr, host->len, "a b", 3);
    CHECK_INT(serve__parser_count(&parser, STR("x-one")), 2);
    CHECK_BYTES(serve__parser_header(&parser, STR("x-one"))->ptr, 1, "1", 1);
    CHECK(serve__parser_header(&parser, STR("x-two")) == NULL);
    buf_fini(&out);
    serve__parser_fini(&parser);
}

int main(void)
{
    CASE(all_vectors);
    CASE(head_limit_to_the_byte);
    CASE(header_lines_limit);
    CASE(body_limit_to_the_byte);
    CASE(frames_limit);
    CASE(headers_found);
    CASE(damaged_alike);
    return 0;
}
