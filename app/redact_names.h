#ifndef APP_REDACT_NAMES_H
#define APP_REDACT_NAMES_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"
#include "schemas/pseudonym.h"
#include "schemas/schemas.h"

/* Whose dead letter is it? Names of users who are to be forgotten, and whether the bytes of a record belong to one of them.
 *
 * A record is a user's when
 *   - its key is the user's: the id, "tenant:id", or the id as a JSON or an Avro string,
 *   - its value can be read as an event, and that names the user (user_id, anonymous_id),
 *   - or its value cannot be read, but holds the id as a whole JSON or Avro string, and its key says nothing (it is empty) or the id is
 *     so long that nothing else is called so (NAMES_TELLING bytes).
 * With pseudonyms the names are pseudonyms, and so are keys and events compared; letters themselves hold no ids then (emit_dead_letter,
 * is_bare), but those from before may. Thread: one. */
enum { NAMES_TELLING = 8 };

struct redact_names;

struct redact_names *redact_names_new(void);
void redact_names_free(struct redact_names *names);
void redact_names_clear(struct redact_names *names);
/* Copies the user and the anonymous id of a request. */
void redact_names_add(struct redact_names *names, const struct erasure *request);
int redact_names_count(const struct redact_names *names);
/* pseudonyms NULL: ids stay what they are. scratch: for reading the value; reset by the caller. */
bool redact_names_hold(const struct redact_names *names, const struct pseudonyms *pseudonyms,
                       struct schemas *schemas, struct arena *scratch, struct str key,
                       struct str value);

#endif
