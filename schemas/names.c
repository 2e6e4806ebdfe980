/* Ids and names: hashes of ids, the user's key, event types and their aliases in other systems. */
#include "schemas/schemas.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>
#include <xxhash.h>

#include "schemas/internal.h"

/* ---- hashes and keys ---- */

uint64_t schemas_item_key(struct str tenant, struct str item_id)
{
    char bytes[2 * SCHEMAS_ID_MAX + 1];
    if (tenant.len + item_id.len < sizeof bytes) {
        if (tenant.len) memcpy(bytes, tenant.ptr, tenant.len);
        bytes[tenant.len] = 0;
        if (item_id.len) memcpy(bytes + tenant.len + 1, item_id.ptr, item_id.len);
        return XXH3_64bits(bytes, tenant.len + 1 + item_id.len);
    }
    /* Longer than ids may be: the same hash by pieces. */
    XXH3_state_t *state = XXH3_createState();
    assert(state);
    (void)XXH3_64bits_reset(state);
    (void)XXH3_64bits_update(state, tenant.ptr, tenant.len);
    (void)XXH3_64bits_update(state, "", 1);
    (void)XXH3_64bits_update(state, item_id.ptr, item_id.len);
    uint64_t key = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return key;
}

struct str schemas_user_key(const struct event *event, char *out)
{
    bool known = event->user_id.len > 0;
    struct str id = known ? event->user_id : event->anonymous_id;
    struct str tenant = event->tenant;
    if (id.len == 0 || id.len > SCHEMAS_ID_MAX || tenant.len > SCHEMAS_ID_MAX)
        return (struct str){out, 0};
    if (tenant.len) memcpy(out, tenant.ptr, tenant.len);
    out[tenant.len] = 0;
    out[tenant.len + 1] = known ? 'u' : 'a';
    memcpy(out + tenant.len + 2, id.ptr, id.len);
    return (struct str){out, tenant.len + 2 + id.len};
}

uint64_t schemas_id_hash(struct str id)
{
    uint64_t hash = XXH3_64bits(id.len ? id.ptr : "", id.len);
    return hash ? hash : 1;
}

uint64_t schemas_session_id(struct str user_key, int64_t first_ms)
{
    char bytes[SCHEMAS_USER_KEY_MAX + sizeof first_ms];
    assert(user_key.len <= SCHEMAS_USER_KEY_MAX);
    memcpy(bytes, user_key.ptr, user_key.len);
    for (size_t i = 0; i < sizeof first_ms; i++)
        bytes[user_key.len + i] = (char)((uint64_t)first_ms >> 8 * i);
    struct str whole = {bytes, user_key.len + sizeof first_ms};
    return (schemas_id_hash(user_key) & SCHEMAS_SESSION_USER) |
           (schemas_id_hash(whole) & ~SCHEMAS_SESSION_USER);
}

void schemas_guard_key(struct str user_key, char out[SCHEMAS_GUARD_BYTES])
{
    unsigned char hash[SCHEMAS_GUARD_BYTES];
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)user_key.ptr, user_key.len,
                             NULL, 0);
    memcpy(out, hash, sizeof hash);
}

void schemas_recommendation_id(struct str topic, int32_t partition, int64_t offset, char out[33])
{
    static const char digits[] = "0123456789abcdef";
    char text[320]; /* Kafka's topic names have at most 249 bytes */
    size_t len = topic.len;
    assert(len <= 249);
    memcpy(text, topic.ptr, len);
    text[len++] = '/';
    len += str_put_number(text + len, partition);
    text[len++] = '/';
    len += str_put_number(text + len, offset);
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(text, len));
    for (size_t i = 0; i < 16; i++) {
        out[2 * i] = digits[bytes.digest[i] >> 4];
        out[2 * i + 1] = digits[bytes.digest[i] & 15];
    }
    out[32] = 0;
}

/* ---- event types ---- */

static const char *const type_names[EVENT_TYPE_COUNT] = {
    "impression", "click", "view",    "add_to_cart", "remove_from_cart", "purchase", "refund",
    "search",     "like",  "dislike", "other"};

/* In the order of enum event_type and of event.avsc. */
const char *schemas_event_type_name(enum event_type type)
{
    assert((unsigned)type < EVENT_TYPE_COUNT);
    return type_names[type];
}

/* Folded names (see schemas__fold_name), ours first. From Google Retail, Segment, Snowplow, Algolia, Recombee, GA4 and
 * the public session data sets. */
static const struct {
    const char *name;
    enum event_type type;
} type_aliases[] = {
    {"view", EVENT_VIEW},
    {"click", EVENT_CLICK},
    {"impression", EVENT_IMPRESSION},
    {"addtocart", EVENT_ADD_TO_CART},
    {"removefromcart", EVENT_REMOVE_FROM_CART},
    {"purchase", EVENT_PURCHASE},
    {"refund", EVENT_REFUND},
    {"search", EVENT_SEARCH},
    {"like", EVENT_LIKE},
    {"dislike", EVENT_DISLIKE},
    {"other", EVENT_OTHER},
    {"productlistviewed", EVENT_IMPRESSION},
    {"listview", EVENT_IMPRESSION},
    {"viewitemlist", EVENT_IMPRESSION},
    {"productclicked", EVENT_CLICK},
    {"listclick", EVENT_CLICK},
    {"selectitem", EVENT_CLICK},
    {"detailpageview", EVENT_VIEW},
    {"productviewed", EVENT_VIEW},
    {"productview", EVENT_VIEW},
    {"detailview", EVENT_VIEW},
    {"viewitem", EVENT_VIEW},
    {"productadded", EVENT_ADD_TO_CART},
    {"cartaddition", EVENT_ADD_TO_CART},
    {"cart", EVENT_ADD_TO_CART},
    {"productremoved", EVENT_REMOVE_FROM_CART},
    {"deletecartaddition", EVENT_REMOVE_FROM_CART},
    {"purchasecomplete", EVENT_PURCHASE},
    {"ordercompleted", EVENT_PURCHASE},
    {"transaction", EVENT_PURCHASE},
    {"buy", EVENT_PURCHASE},
    {"orderrefunded", EVENT_REFUND},
    {"ordercancelled", EVENT_REFUND},
    {"deletepurchase", EVENT_REFUND},
    {"productssearched", EVENT_SEARCH},
    {"productaddedtowishlist", EVENT_LIKE},
    {"addtowishlist", EVENT_LIKE},
    {"bookmark", EVENT_LIKE},
};

bool schemas_event_type_parse(struct str name, enum event_type *type)
{
    char folded[32];
    if (schemas__fold_name(name, folded, sizeof folded) == 0) return false;
    for (size_t i = 0; i < sizeof type_aliases / sizeof *type_aliases; i++) {
        if (strcmp(type_aliases[i].name, folded) != 0) continue;
        *type = type_aliases[i].type;
        return true;
    }
    return false;
}

static const char *const reason_names[REASON_KIND_COUNT] = {
    "encoder",          "popular", "trending", "because_viewed", "bought_together",
    "similar_sessions", "new",     "repeat",   "content",        "pinned"};

const char *schemas_reason_name(enum reason_kind kind)
{
    assert((unsigned)kind < REASON_KIND_COUNT);
    return reason_names[kind];
}

static const char *const related_names[RELATED_KIND_COUNT] = {
    "bought_together", "also_bought", "also_viewed", "viewed_then_bought", "other"};

const char *schemas_related_name(enum related_kind kind)
{
    assert((unsigned)kind < RELATED_KIND_COUNT);
    return related_names[kind];
}

bool schemas_related_parse(struct str name, enum related_kind *kind)
{
    for (enum related_kind k = 0; k < RELATED_KIND_COUNT; k++) {
        if (!str_equal(name, str_of(related_names[k]))) continue;
        *kind = k;
        return true;
    }
    return false;
}
