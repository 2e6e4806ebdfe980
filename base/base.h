#ifndef BASE_BASE_H
#define BASE_BASE_H

/* base/: what every folder builds on. libc and POSIX only; knows nothing of shops, Kafka or models.
 *
 * It refuses: foreign libraries, settings of its own, global state beyond the log's format and each thread's allocation count.
 *
 * Files, in reading order
 *   str.h        a borrowed run of bytes
 *   err.h        errors by class; what the caller does follows from the class
 *   mem.h        the heap that never fails, and arenas that are freed at once
 *   buf.h        bytes that grow to a maximum; the cursor that reads them back
 *   utf8.h       checking and writing UTF-8
 *   log.h        one line an event of interest, on stderr
 *   clock.h      time as an argument          rng.h       randomness as an argument
 *   map.h        hash maps with a maximum     ring.h      the queue between two threads
 *   sync.h       atomics, locks, threads: nobody else has them
 *   options.h    one table drives parsing, bounds, help and the page: options_value.c (texts to values), options_file.c (files),
 *                options_print.c (help and page); properties.h and suggest.h serve it
 *   counters.h   one table drives counting and /metrics; recent.h says what was counted lately
 *   progress.h   the line that long work draws
 *   fault.h      fail-points of the test build
 *   tsan.c       only for ThreadSanitizer: threads as it understands them
 *
 * Invariants
 *   - What grows has a maximum, given when it is made.
 *   - Data structures cannot fail but for that maximum; what touches the outside returns bool and a struct err.
 *   - All heap calls go through mem.c, all atomics and locks through sync.h.
 *   - Time and randomness come in as arguments, so that a run can be repeated exactly.
 *
 * Words: slot = one thread's share of something; latch = count of what is still out; key = bytes or a 64-bit number that
 * names an entry. Each file is included by itself; this one holds the page alone. */

#endif
