/* Keys and values as bytes. The tables stand in docs/STATE.md; numbers in values are little-endian, partitions in keys
 * big-endian so that a partition is one range. Decoding is strict: a value that encoding would not have made is refused. */
#include "state/internal.h"

#include <string.h>

enum {
    USER_VERSION = 1,
    USER_HEAD = 40, /* bytes before the columns */
    USER_TRUNCATED = 1,
    POSITION_VERSION = 1,
    POSITION_SIZE = 9,
    INTERACTION_SIZE = 17,
};

/* ---- numbers ---- */

/* Written out, so that compilers make one store of it; a loop over bytes costs a user 0.8 us. */
static void put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static uint8_t *put_keys(uint8_t *p, const uint64_t *keys, int n)
{
    for (int i = 0; i < n; i++, p += 8)
        put_u64(p, keys[i]);
    return p;
}

static const uint8_t *get_keys(const uint8_t *p, uint64_t *keys, int n)
{
    for (int i = 0; i < n; i++, p += 8)
        keys[i] = get_u64(p);
    return p;
}

/* ---- keys ---- */

static void put_partition(char *out, int32_t partition)
{
    for (int i = 0; i < 4; i++)
        out[i] = (char)((uint32_t)partition >> (8 * (3 - i)));
}

size_t state__user_key(int32_t partition, struct str key, char *out)
{
    put_partition(out, partition);
    if (key.len) memcpy(out + 4, key.ptr, key.len);
    return 4 + key.len;
}

size_t state__position_key(int32_t partition, struct str topic, char *out, size_t cap)
{
    if (topic.len + 4 > cap) topic.len = cap - 4;
    return state__user_key(partition, topic, out);
}

/* ---- users ---- */

void state__user_clear(struct user *user)
{
    memset(user->recent_ids, 0, sizeof user->recent_ids);
    for (int i = 0; i < USER_TOPICS_MAX; i++)
        user->last_offset[i] = -1;
    user->model_id = 0;
    user->recent_next = 0;
    user->events = 0;
    user->erased_ms = INT64_MIN;
    user->is_gone = user->is_guard_new = false;
    user->newest_ms = INT64_MIN;
    user->n_window = user->n_bought = user->n_disliked = user->n_last_list = 0;
    user->truncated = false;
    user->batch = 0;
    user->batch_row = 0;
}

/* Offsets behind the last one in use are not stored. */
static int count_offsets(const struct user *user)
{
    int n = USER_TOPICS_MAX;
    while (n > 0 && user->last_offset[n - 1] < 0)
        n--;
    return n;
}

/* The ring fills from place 0, so its last place says whether it went round. */
static int count_recent(const struct user *user)
{
    return user->recent_ids[USER_RECENT_IDS - 1] ? USER_RECENT_IDS : (int)user->recent_next;
}

static size_t columns_size(int n_offsets, int n_recent, int n_sets, size_t n_window,
                           size_t n_encoder)
{
    return 8 * (size_t)(n_offsets + n_recent + n_sets) + INTERACTION_SIZE * n_window +
           sizeof(float) * n_encoder;
}

size_t state__user_size(const struct user *user, int state_floats)
{
    return USER_HEAD + columns_size(count_offsets(user), count_recent(user),
                                    user->n_bought + user->n_disliked + user->n_last_list,
                                    (size_t)user->n_window,
                                    user->model_id ? (size_t)state_floats : 0);
}

static uint8_t *put_window(uint8_t *p, const struct interaction *window, int n)
{
    uint8_t *key = p, *time = p + 8 * (size_t)n, *type = p + 16 * (size_t)n;
    for (int i = 0; i < n; i++) {
        put_u64(key + 8 * (size_t)i, window[i].item);
        put_u64(time + 8 * (size_t)i, (uint64_t)window[i].time_ms);
        type[i] = window[i].type;
    }
    return type + n;
}

static uint8_t *put_floats(uint8_t *p, const float *x, int n)
{
    for (int i = 0; i < n; i++, p += 4) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        put_u32(p, bits);
    }
    return p;
}

void state__user_encode(const struct user *user, int state_floats, struct buf *out)
{
    int n_offsets = count_offsets(user), n_recent = count_recent(user);
    int n_encoder = user->model_id ? state_floats : 0;
    size_t size = state__user_size(user, state_floats);
    uint8_t *p = buf_reserve(out, size);
    if (!p) return;
    out->len += size;
    p[0] = USER_VERSION;
    p[1] = user->truncated ? USER_TRUNCATED : 0;
    p[2] = (uint8_t)n_offsets;
    p[3] = (uint8_t)n_recent;
    p[4] = (uint8_t)user->recent_next;
    p[5] = (uint8_t)user->n_bought;
    p[6] = (uint8_t)user->n_disliked;
    p[7] = (uint8_t)user->n_last_list;
    put_u32(p + 8, (uint32_t)user->n_window);
    put_u32(p + 12, (uint32_t)n_encoder);
    put_u64(p + 16, user->model_id);
    put_u64(p + 24, user->events);
    put_u64(p + 32, (uint64_t)user->newest_ms);
    p += USER_HEAD;
    for (int i = 0; i < n_offsets; i++, p += 8)
        put_u64(p, (uint64_t)user->last_offset[i]);
    p = put_keys(p, user->recent_ids, n_recent);
    p = put_keys(p, user->bought, user->n_bought);
    p = put_keys(p, user->disliked, user->n_disliked);
    p = put_keys(p, user->last_list, user->n_last_list);
    p = put_window(p, user->window, user->n_window);
    (void)put_floats(p, user->encoder, n_encoder);
}

bool state__user_shape(struct str value, uint32_t *n_window, uint32_t *n_encoder)
{
    const uint8_t *p = (const uint8_t *)value.ptr;
    if (value.len < USER_HEAD || p[0] != USER_VERSION) return false;
    *n_window = get_u32(p + 8);
    *n_encoder = get_u32(p + 12);
    /* No more than the value can hold, so that the caller may allocate by it. */
    return *n_window <= value.len / INTERACTION_SIZE && *n_encoder <= value.len / sizeof(float);
}

/* The head: counts in their bounds, and together exactly the length of the value. */
static const char *check_head(const uint8_t *p, size_t len)
{
    if (len < USER_HEAD) return "shorter than its head";
    if (p[0] != USER_VERSION) return "version of the value is unknown";
    if (p[1] & ~USER_TRUNCATED) return "unknown flags";
    if (p[2] > USER_TOPICS_MAX) return "too many offsets";
    if (p[3] > USER_RECENT_IDS || p[4] >= USER_RECENT_IDS) return "event id ring out of bounds";
    if (p[3] < USER_RECENT_IDS && p[3] != p[4]) return "event id ring has a hole";
    if (p[5] > USER_BOUGHT_MAX || p[6] > USER_DISLIKED_MAX || p[7] > USER_LIST_MAX)
        return "a set is too long";
    uint32_t n_window = get_u32(p + 8), n_encoder = get_u32(p + 12);
    if (n_window > INT32_MAX || n_encoder > INT32_MAX) return "a count is out of bounds";
    if (get_u64(p + 16) == 0 && n_encoder > 0) return "encoder state without its model";
    if (len != USER_HEAD + columns_size(p[2], p[3], p[5] + p[6] + p[7], n_window, n_encoder))
        return "length does not fit its counts";
    return NULL;
}

/* The newest `keep` of n interactions; NULL or why they are none. */
static const char *get_window(const uint8_t *p, int n, int keep, struct interaction *window)
{
    const uint8_t *key = p, *time = p + 8 * (size_t)n, *type = p + 16 * (size_t)n;
    for (int i = 0; i < n; i++)
        if (type[i] >= EVENT_TYPE_COUNT) return "unknown event type";
    for (int i = n - keep; i < n; i++)
        *window++ = (struct interaction){.item = get_u64(key + 8 * (size_t)i),
                                         .time_ms = (int64_t)get_u64(time + 8 * (size_t)i),
                                         .type = type[i]};
    return NULL;
}

static void get_floats(const uint8_t *p, float *x, int n)
{
    for (int i = 0; i < n; i++, p += 4) {
        uint32_t bits = get_u32(p);
        memcpy(x + i, &bits, sizeof bits);
    }
}

const char *state__user_decode(struct str value, int window_max, int state_floats,
                               struct user *user)
{
    const uint8_t *p = (const uint8_t *)value.ptr;
    const char *why = check_head(p, value.len);
    if (why) return why;
    int n_window = (int)get_u32(p + 8), n_encoder = (int)get_u32(p + 12);
    int keep = n_window < window_max ? n_window : window_max;
    state__user_clear(user);
    user->truncated = p[1] & USER_TRUNCATED;
    int n_offsets = p[2], n_recent = p[3];
    user->recent_next = p[4];
    user->n_bought = p[5];
    user->n_disliked = p[6];
    user->n_last_list = p[7];
    user->model_id = get_u64(p + 16);
    user->events = get_u64(p + 24);
    user->newest_ms = (int64_t)get_u64(p + 32);
    p += USER_HEAD;
    for (int i = 0; i < n_offsets; i++, p += 8) {
        user->last_offset[i] = (int64_t)get_u64(p);
        if (user->last_offset[i] < -1) return "an offset is negative";
    }
    p = get_keys(p, user->recent_ids, n_recent);
    for (int i = 0; i < n_recent; i++)
        if (user->recent_ids[i] == 0) return "event id ring holds a zero";
    if (count_offsets(user) != n_offsets) return "offsets end in none";
    p = get_keys(p, user->bought, user->n_bought);
    p = get_keys(p, user->disliked, user->n_disliked);
    p = get_keys(p, user->last_list, user->n_last_list);
    why = get_window(p, n_window, keep, user->window);
    if (why) return why;
    user->n_window = keep;
    if (keep < n_window) user->truncated = true;
    if (keep < n_window || n_encoder != state_floats || !user->encoder)
        user->model_id = 0; /* the state is not that of this window, or not of this size */
    else
        get_floats(p + INTERACTION_SIZE * (size_t)n_window, user->encoder, n_encoder);
    return NULL;
}

/* ---- positions ---- */

void state__position_encode(int64_t next, struct buf *out)
{
    buf_push_byte(out, POSITION_VERSION);
    buf_push_u64(out, (uint64_t)next);
}

bool state__position_decode(struct str value, int64_t *next)
{
    const uint8_t *p = (const uint8_t *)value.ptr;
    if (value.len != POSITION_SIZE || p[0] != POSITION_VERSION) return false;
    *next = (int64_t)get_u64(p + 1);
    return *next >= 0;
}
