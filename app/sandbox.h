#ifndef APP_SANDBOX_H
#define APP_SANDBOX_H

#include <stdbool.h>

#include "base/err.h"

/* What the process gives up, so that who breaks in through a decoder gains little (RELIABILITY 5). */

/* No core dumps, no debugger of the same user, no /proc/PID/mem and environ: passwords stay inside. First thing in main. */
void sandbox_keep_secrets(void);
/* Undoes that, for somebody who looks for a fault of ours (process.dumpable=true). */
void sandbox_dumpable(void);

/* From here on the process makes only the system calls that freshet and its libraries need: files, sockets, memory, threads. No
 * new program (exec), no new process (fork), no change of user, no debugger, no mount, no kernel module. What is not listed
 * fails as if the kernel did not know it. For all threads, those to come as well, and for ever.
 * A sanitized build changes nothing: its leak checker forks. Errors: ERR_FATAL exit 2, the kernel does not do it. */
MUST_USE bool sandbox_enter(struct err *err);

#endif
