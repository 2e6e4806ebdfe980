/* Keys of records, joined from their parts. */
#include "app/keys.h"

static size_t append(char *out, size_t at, struct str part)
{
    size_t n = part.len < KEYS_MAX - at ? part.len : KEYS_MAX - at;
    if (n) memcpy(out + at, part.ptr, n);
    return at + n;
}

/* Kafka's murmur2 (org.apache.kafka.common.utils.Utils). */
static uint32_t murmur2(const uint8_t *data, size_t len)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)len;
    for (; len >= 4; data += 4, len -= 4) {
        uint32_t k = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                     (uint32_t)data[3] << 24;
        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    for (size_t i = len; i > 0; i--)
        h ^= (uint32_t)data[i - 1] << 8 * (i - 1);
    if (len > 0) h *= m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t keys_partition(struct str key, int n)
{
    return (int32_t)((murmur2((const uint8_t *)key.ptr, key.len) & 0x7fffffff) % (uint32_t)n);
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
