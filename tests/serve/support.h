#ifndef TESTS_SERVE_SUPPORT_H
#define TESTS_SERVE_SUPPORT_H

#include <uv.h>

#include "serve/serve.h"

/* A server with routes of its own on a free port, and clients of it, all on one thread: whoever waits turns the loop. */

enum { RIG_ROUTES = 9 };
extern const struct serve_route rig_routes[RIG_ROUTES];
/*  GET  /hello/{name}?n=1..9&kind=a|b&word=&ratio=&is=   {"name":..,"n":..,"kind":..,"word":..,"ratio":..,"is":..}
 *  POST /echo                 {"body":..}
 *  POST /late                 held: rig.ticket; answered by the test
 *  GET  /stream?topic=        server-sent events
 *  GET  /big?n=               a JSON text of n bytes
 *  GET  /open                 without a token
 *  DELETE /hello/{name}       {"deleted":..}
 *  GET  /fixed                static text
 *  GET  /mute                 gives no answer; the last row, for those who leave it out */

struct rig {
    uv_loop_t loop;
    struct serve *serve;
    struct serve_options options;
    int port;
    uint64_t ticket; /* of the last held request */
    int handled;     /* calls of handlers */
    int observed;    /* calls of observe */
    int last_route, last_status;
    bool is_done;
};

/* options in rig->options may be changed before. */
void rig_init(struct rig *rig);
void rig_open(struct rig *rig);
void rig_stop(struct rig *rig); /* and waits, and frees */

/* Non-blocking, connected. */
int rig_connect(struct rig *rig);
/* All of it, turning the loop while the socket is full. */
void rig_send(struct rig *rig, int fd, const char *bytes, size_t n);
void rig_text(struct rig *rig, int fd, const char *text);
void rig_turn(struct rig *rig, int64_t ms);
/* What comes until `until` is in it, the server closes, or 10 s have passed. NUL behind it; lives until the next call. */
const char *rig_until(struct rig *rig, int fd, const char *until);
/* Up to the end of the connection; fails when it is not closed within ms. */
const char *rig_end(struct rig *rig, int fd, int64_t ms);
/* One whole answer: head and body by its Content-Length. */
const char *rig_answer(struct rig *rig, int fd);
/* Connects, sends, takes one answer, closes. */
const char *rig_once(struct rig *rig, const char *text);

#endif
