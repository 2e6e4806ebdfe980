#ifndef APP_REDACT_NAMES_H
#define APP_REDACT_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "app/settings.h"
#include "base/mem.h"
#include "base/str.h"
#include "schemas/schemas.h"

/* Whose dead letter is it? Names of users who were forgotten, each with the moment up to which, and what the bytes of a record are to
 * them.
 *
 * A record is a user's when
 *   - its key is the user's: the id, "tenant:id", or the id as a JSON or an Avro string,
 *   - its value can be read as an event, and that names the user (user_id, anonymous_id),
 *   - or its value cannot be read, but holds the id as a whole JSON or Avro string, and its key says nothing (it is empty) or the id is
 *     so long that nothing else is called so (NAMES_TELLING bytes).
 * It may be a user's when its value cannot be read and
 *   - holds the id as a whole JSON or Avro string or as a word, whatever its key,
 *   - or ends with the beginning of the id (NAMES_BROKEN bytes or more): it was cut there,
 *   - or a header is the id.
 *
 * Time. An event from after the moment is of somebody who came back, and is not a forgotten user's. A record that cannot be read says
 * only when it was written: from before the moment it is the user's, from after that it may be, because events come late.
 *
 * With pseudonyms the names are pseudonyms, and what is compared with them is made one; letters themselves hold no ids then
 * (emit_dead_letter, is_bare), but those from before may. Thread: one. */
enum { NAMES_TELLING = 8, NAMES_BROKEN = 4 };

enum redact_claim {
    REDACT_NONE,  /* not that of any of them */
    REDACT_MAYBE, /* perhaps: its bytes go, what came and where stays */
    REDACT_THEIRS /* it goes */
};

struct redact_names;

/* What bytes are read with; borrowed. pseudonyms NULL: ids stay what they are. */
struct redact_reading {
    const struct pseudonyms *pseudonyms;
    struct schemas *schemas;
    int64_t max_future_ms; /* events.max.future.ms */
};

struct redact_record {
    struct str key, value;
    int64_t timestamp_ms; /* -1 unknown */
    bool is_called;       /* a text beside it is called as one of them (redact_names_is_called) */
};

struct redact_names *redact_names_new(const struct redact_reading *reading);
void redact_names_free(struct redact_names *names);
void redact_names_clear(struct redact_names *names);
/* Copies the user and the anonymous id of a request. moment_ms: schemas_erasure_moment. */
void redact_names_add(struct redact_names *names, const struct erasure *request, int64_t moment_ms);
int redact_names_count(const struct redact_names *names);
/* Those who were forgotten up to an earlier moment do not count from here on: their guards are gone. */
void redact_names_expire(struct redact_names *names, int64_t before_ms);

enum redact_claim redact_names_claim(struct redact_names *names,
                                     const struct redact_record *record);
/* Somebody of them is called so, whatever the tenant. */
bool redact_names_is_called(const struct redact_names *names, struct str text);

#endif
