/* Requests that two programs read differently, over real sockets: one answer that refuses, then the end of the connection. The
 * request that was to be smuggled behind never reaches a handler, however the bytes are cut. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/serve/support.h"
#include "tests/serve/vectors.h"
#include "tests/test.h"

/* LINK: libuv */

static const char smuggled[] = "GET /open HTTP/1.1\r\nHost: a\r\n\r\n";

enum { FIRM_MS = 8000 };

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

/* The vector's bytes, for a route of the rig that takes a body, so that what is wrong in a body is met. Lives until the next
 * call. */
static const char *bytes_of(const struct vector *vector)
{
    static const char nowhere[] = "POST /x HTTP/1.1\r\n" H;
    static char bytes[1024];
    if (strncmp(vector->bytes, nowhere, strlen(nowhere)) != 0) return vector->bytes;
    (void)snprintf(bytes, sizeof bytes,
                   "POST /echo HTTP/1.1\r\n" H "Content-Type: application/json\r\n%s",
                   vector->bytes + strlen(nowhere));
    return bytes;
}

/* The bytes up to cut, a turn of the server, the others and the smuggled request. */
static void send_cut(struct rig *rig, const struct vector *vector, size_t cut)
{
    const char *bytes = bytes_of(vector);
    size_t len = strlen(bytes);
    int fd = rig_connect(rig);
    if (cut) {
        rig_send(rig, fd, bytes, cut);
        rig_turn(rig, 0);
    }
    rig_send(rig, fd, bytes + cut, len - cut);
    rig_text(rig, fd, smuggled);
    const char *got = rig_end(rig, fd, FIRM_MS);
    if (strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, vector->want, 3) != 0 ||
        count(got, "Content-Length: ") != 1 || !strstr(got, "\r\nConnection: close\r\n"))
        test_fail(__FILE__, __LINE__, "%s, cut at %zu: \"%s\"", vector->name, cut, got);
    if (rig->handled)
        test_fail(__FILE__, __LINE__, "%s, cut at %zu: a handler was called", vector->name, cut);
    close(fd);
}

static bool is_refused(const struct vector *vector)
{
    return strlen(vector->want) == 3;
}

static void all_refused_and_closed(void)
{
    struct rig rig;
    int n = 0, sent = 0;
    rig_init(&rig);
    rig_open(&rig);
    for (size_t i = 0; i < n_vectors; i++) {
        if (!is_refused(&vectors[i])) continue;
        n++;
        for (size_t cut = 0; cut < strlen(bytes_of(&vectors[i])); cut++, sent++)
            send_cut(&rig, &vectors[i], cut);
    }
    CHECK(n > 50);
    CHECK_INT(serve_numbers(rig.serve).bad, sent);
    printf("  %d requests, %d connections\n", n, sent);
    rig_stop(&rig);
}

/* The same bytes between good requests: what came before is answered, what comes after is not. */
static void good_before_bad(void)
{
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    for (size_t i = 0; i < n_vectors; i++) {
        if (!is_refused(&vectors[i])) continue;
        int before = rig.handled;
        int fd = rig_connect(&rig);
        rig_text(&rig, fd, smuggled);
        rig_text(&rig, fd, bytes_of(&vectors[i]));
        rig_text(&rig, fd, smuggled);
        const char *got = rig_end(&rig, fd, FIRM_MS);
        CHECK_INT(rig.handled - before, 1);
        if (count(got, "HTTP/1.1 200 OK") != 1 || count(got, "Content-Length: ") != 2)
            test_fail(__FILE__, __LINE__, "%s: \"%s\"", vectors[i].name, got);
        close(fd);
    }
    rig_stop(&rig);
}

int main(void)
{
    CASE(all_refused_and_closed);
    CASE(good_before_bad);
    return 0;
}
