/* Requests to forget somebody, as records. */
#include "app/forget.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

bool forget_make(struct forget_request *request, const struct settings *settings, int k,
                 const struct schemas *schemas, struct str tenant, struct str user,
                 const char *source, int64_t now_ms, struct buf *value, struct err *err)
{
    if (user.len == 0 || user.len > SCHEMAS_ID_MAX || tenant.len > SCHEMAS_ID_MAX ||
        !utf8_is_valid(user) || !utf8_is_valid(tenant))
        return err_set(err, ERR_DATA, "give a user id of 1 to %d bytes of UTF-8", SCHEMAS_ID_MAX);
    int n = snprintf(request->request_id, sizeof request->request_id, "%" PRIx64 "-%x-%" PRIx64,
                     (uint64_t)now_ms, (unsigned)getpid(), clock_mono_ns());
    request->partition =
        keys_partition(keys_pair(tenant, user, request->key_bytes), settings->erasures_partitions);
    struct str name = pseudonym_of(settings->pseudonyms, k, tenant, user, request->name_bytes);
    const struct erasure erasure = {.request_id = {request->request_id, (size_t)n},
                                    .tenant = tenant,
                                    .user_id = name,
                                    .anonymous_id = name,
                                    .requested_at_ms = now_ms,
                                    .source = str_of(source)};
    request->key = keys_pair(tenant, name, request->key_bytes);
    buf_reset(value);
    schemas_erasure_encode(schemas, &erasure, value);
    return !value->failed || err_set(err, ERR_FATAL, "the request cannot be written");
}
