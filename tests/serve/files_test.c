/* The page's files: as they are, compressed, not modified. */
#include <unistd.h>
#include <zlib.h>

#include "tests/serve/support.h"
#include "tests/test.h"

/* LINK: libuv zlib */

#define GET(path, headers) "GET " path " HTTP/1.1\r\nHost: a\r\n" headers "\r\n"

static uint8_t page[20000], picture[100];

static const struct serve_file files[] = {
    {"/", "text/html; charset=utf-8", page, sizeof page},
    {"/p.png", "image/png", picture, sizeof picture},
};

static void rig_files(struct rig *rig)
{
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = (uint8_t)('a' + i % 17);
    for (size_t i = 0; i < sizeof picture; i++)
        picture[i] = (uint8_t)(i * i * 7 + i * 31);
    rig_init(rig);
    rig->options.files = files;
    rig->options.n_files = 2;
    rig->options.token = "t"; /* files need none */
    rig_open(rig);
}

static size_t length_of(const char *answer)
{
    const char *length = strstr(answer, "Content-Length: ");
    CHECK(length != NULL);
    return strtoul(length + 16, NULL, 10);
}

static const char *body_of(const char *answer)
{
    return strstr(answer, "\r\n\r\n") + 4;
}

static void as_it_is(void)
{
    struct rig rig;
    rig_files(&rig);
    const char *got = rig_once(&rig, GET("/", ""));
    CHECK_CONTAINS(got, "Content-Type: text/html; charset=utf-8\r\n");
    CHECK_CONTAINS(got, "Vary: Accept-Encoding\r\n");
    CHECK_CONTAINS(got, "Content-Security-Policy: default-src 'none'");
    CHECK(strstr(got, "Content-Encoding") == NULL);
    CHECK_BYTES(body_of(got), length_of(got), page, sizeof page);
    got = rig_once(&rig, GET("/?from=mail", "Accept-Encoding: gzip;q=0\r\n"));
    CHECK_BYTES(body_of(got), length_of(got), page, sizeof page);
    got = rig_once(&rig, GET("/p.png", "Accept-Encoding: gzip\r\n"));
    CHECK_BYTES(body_of(got), length_of(got), picture, sizeof picture);
    CHECK_CONTAINS(rig_once(&rig, "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n"),
                   "404 Not Found");
    rig_stop(&rig);
}

static void compressed(void)
{
    struct rig rig;
    static uint8_t back[sizeof page + 1];
    rig_files(&rig);
    const char *got = rig_once(&rig, GET("/", "Accept-Encoding: br, gzip;q=0.8\r\n"));
    z_stream stream = {0};
    CHECK_CONTAINS(got, "Content-Encoding: gzip\r\n");
    CHECK(length_of(got) < sizeof page / 10);
    CHECK_INT(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)body_of(got);
    stream.avail_in = (uInt)length_of(got);
    stream.next_out = back;
    stream.avail_out = sizeof back;
    CHECK_INT(inflate(&stream, Z_FINISH), Z_STREAM_END);
    CHECK_BYTES(back, stream.total_out, page, sizeof page);
    (void)inflateEnd(&stream);
    rig_stop(&rig);
}

static void tag_of(const char *answer, char tag[40])
{
    const char *at = strstr(answer, "ETag: ");
    CHECK(at != NULL);
    size_t len = strcspn(at + 6, "\r");
    CHECK(len < 40);
    memcpy(tag, at + 6, len);
    tag[len] = '\0';
}

static void not_modified(void)
{
    struct rig rig;
    char plain[40], zipped[40], text[400];
    rig_files(&rig);
    tag_of(rig_once(&rig, GET("/", "")), plain);
    tag_of(rig_once(&rig, GET("/", "Accept-Encoding: gzip\r\n")), zipped);
    CHECK(strcmp(plain, zipped) != 0);
    (void)snprintf(text, sizeof text,
                   "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\", %s\r\n\r\n", plain);
    int fd = rig_connect(&rig);
    rig_text(&rig, fd, text);
    const char *got = rig_until(&rig, fd, "\r\n\r\n");
    CHECK_CONTAINS(got, "HTTP/1.1 304 Not Modified\r\n");
    CHECK(strstr(got, "Content-Length") == NULL);
    /* It has no body, so the next answer follows at once. */
    (void)snprintf(text, sizeof text,
                   "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: %s\r\nConnection: close\r\n\r\n",
                   zipped);
    rig_text(&rig, fd, text);
    CHECK_CONTAINS(rig_end(&rig, fd, 3000), "HTTP/1.1 200 OK\r\n");
    close(fd);
    rig_stop(&rig);
}

int main(void)
{
    CASE(as_it_is);
    CASE(compressed);
    CASE(not_modified);
    return 0;
}
