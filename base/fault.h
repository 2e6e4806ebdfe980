#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>

/* Fail-points and planted bugs, for the fault tests only. In every build but the one with FRESHET_FAULTS both are
 * nothing at all.
 *
 *   FRESHET_KILL_AT=name:probability:seed   the process kills itself (SIGKILL) when it passes the point, with that odds
 *   FRESHET_FAIL_AT=name:probability:seed   what stands at the point is to fail, with that odds
 *   FRESHET_STOP_AT=name:file               the process stops itself (SIGSTOP) when it passes the point and the file is there, which
 *                                           goes with that
 *   FRESHET_MUTANT=name                     the planted bug of that name is switched on
 */
#ifdef FRESHET_FAULTS
void fault_point(const char *name);
/* The same, but the kill comes up to most_us microseconds later, from another thread: inside what is called next. most_us: 1 to 999,999. */
void fault_point_within(const char *name, int most_us);
bool fault_fails(const char *name);
bool fault_mutant(const char *name);
#else
#define fault_point(name)                 ((void)0)
#define fault_point_within(name, most_us) ((void)0)
#define fault_fails(name)                 false
#define fault_mutant(name)                false
#endif

#endif
