#ifndef SCHEMAS_PSEUDONYM_H
#define SCHEMAS_PSEUDONYM_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "schemas/schemas.h"

/* Pseudonyms of user ids: "<key's name>~<32 hex digits of keyed BLAKE2b-128 of tenant, 0x00, id>". Everywhere NULL stands for "off":
 * ids stay what they are. It is pseudonymous data, not anonymous: who has the key can make the pseudonym of an id.
 *
 * The first key is in use; events tell of the second one as well (event.former_id), so that a user's state can be moved when the user is
 * next seen. Lookups and erasures look under all keys. */
struct pseudonyms;

enum { PSEUDONYM_KEYS_MAX = 4, PSEUDONYM_MAX = 16 + 1 + 32 + 1 };

/* secret: "name:64 hex digits", several separated by commas, spaces or lines. Errors: ERR_FATAL exit 2; no text holds a key. */
MUST_USE bool pseudonyms_open(struct pseudonyms **pseudonyms, struct str secret, struct err *err);
void pseudonyms_close(struct pseudonyms *pseudonyms);     /* the keys leave the memory */
int pseudonyms_keys(const struct pseudonyms *pseudonyms); /* at least 1 */

/* The id's pseudonym under a key (0: in use), in out; an empty id is none. Thread: any. */
struct str pseudonym_of(const struct pseudonyms *pseudonyms, int key, struct str tenant,
                        struct str id, char out[PSEUDONYM_MAX]);
/* Has it the form of one, of a key that is known? */
bool pseudonym_is(const struct pseudonyms *pseudonyms, struct str id);
/* user_id, anonymous_id and former_id of a cleaned event, in the arena. */
void pseudonyms_apply(const struct pseudonyms *pseudonyms, struct event *event,
                      struct arena *arena);

#endif
