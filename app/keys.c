/* Keys of records, joined from their parts. */
#include "app/keys.h"

static size_t append(char *out, size_t at, struct str part)
{
    size_t n = part.len < KEYS_MAX - at ? part.len : KEYS_MAX - at;
    if (n) memcpy(out + at, part.ptr, n);
    return at + n;
}

struct str keys_pair(struct str tenant, struct str id, char out[KEYS_MAX])
{
    size_t at = 0;
    if (tenant.len) at = append(out, append(out, at, tenant), STR(":"));
    return (struct str){out, append(out, at, id)};
}

struct str keys_related(struct str tenant, struct str item, enum related_kind kind,
                        char out[KEYS_MAX])
{
    size_t at = append(out, keys_pair(tenant, item, out).len, STR(":"));
    return (struct str){out, append(out, at, str_of(schemas_related_name(kind)))};
}
