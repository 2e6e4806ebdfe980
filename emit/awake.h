#ifndef EMIT_AWAKE_H
#define EMIT_AWAKE_H

#include <stdbool.h>

#include "base/err.h"

/* at_least_once: nobody refuses records of a process that stood still (SIGSTOP, a machine that was moved or suspended) and has been
 * replaced meanwhile. So it refuses itself (emit_options.session_ms, S):
 *
 *     stood still for 1/2 S, or could not send for 3/4 S -> nothing more goes out, ERR_ABORT -> emit_renew, and begin again
 *
 * The thread that reads acknowledgements looks at a clock that goes on while the machine is suspended, ten times a second; who sends
 * looks whether it has. What waits in the client is sent only while it is younger than 3/4 S: the client looks at each record's age
 * before it makes a request of it. The group gives partitions away S after the last heartbeat that it had of us, and there is one in each
 * 1/10 S.
 *
 * What remains: a stop within the instructions between such a look and what it allows, a request that is half in the socket, and a
 * clock that stood still with the process. A record that gets out so is an old one behind a newer one with the same key.
 * exactly_once_v2 has no such gap: the broker refuses. */
struct emit;

/* Nothing more is sent, and what waits in the client is dropped: who waits gets this error. With transactions:
 * emit_transaction_break. Who is inside emit_send meanwhile may still put one record in. Any thread. */
void emit_break(struct emit *emit, const struct err *why);
/* A new client, at_least_once; with transactions emit_transaction_renew. Nobody sends; epochs are reset afterwards. Errors: ERR_FATAL,
 * as emit_open. */
MUST_USE bool emit_renew(struct emit *emit, struct err *err);
/* Errors: the first failure, if there is one. Any thread. */
MUST_USE bool emit_check(const struct emit *emit, struct err *err);

#endif
