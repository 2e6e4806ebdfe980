#ifndef TESTS_SERVE_VECTORS_H
#define TESTS_SERVE_VECTORS_H

#include <stddef.h>

/* Requests as bytes, and what the parser makes of them: those that are taken, and all the ways to write one that two programs
 * read differently (RFC 9112, 11.2), which are refused. */
struct vector {
    const char *name;
    const char *bytes;
    const char *
        want; /* each request as "METHOD target headers [body] ", then the status of what is refused */
};
extern const struct vector vectors[];
extern const size_t n_vectors;

#define H       "Host: a\r\n"
#define CHUNKED "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

#endif
