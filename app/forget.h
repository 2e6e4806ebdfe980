#ifndef APP_FORGET_H
#define APP_FORGET_H

#include "app/keys.h"
#include "app/settings.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "schemas/schemas.h"

/* A request to forget somebody, as `freshet forget` and DELETE /v1/users/{user} write it into erasures.topic: for the user and the
 * anonymous id of that name, since a list has the same key for both. */
enum { FORGET_ID_BYTES = 40 };

struct forget_request {
    char request_id[FORGET_ID_BYTES];
    char key_bytes[KEYS_MAX], name_bytes[PSEUDONYM_MAX];
    struct str key;    /* of the record: tenant and the name that the user is kept under */
    int32_t partition; /* where the user's events are, by their key */
};

/* As many are needed as pseudonyms have keys: number k is for the name under key k. value is reset first. source: who asks. settings:
 * settled. Errors: ERR_DATA the id is none; ERR_FATAL the record cannot be written. */
MUST_USE bool forget_make(struct forget_request *request, const struct settings *settings, int k,
                          const struct schemas *schemas, struct str tenant, struct str user,
                          const char *source, int64_t now_ms, struct buf *value, struct err *err);

#endif
