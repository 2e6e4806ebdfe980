/* Stored rows but users (user_value_fuzz.c) from hostile bytes: popularity, sessions and their head, positions, identity, guards, markers
 * and the place of the changelog, rows of the view. The first byte chooses the table, the second how many of the rest are the key. What
 * is accepted is in its bounds. */
#include "state/image.h"
#include "state/internal.h"
#include "state/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void popularity(struct str key, struct str value)
{
    struct state__row row;
    if (state__row_decode(key, value, &row)) return;
    if (!isfinite(row.level) || row.id.len > SCHEMAS_ID_MAX || row.tenant.len > SCHEMAS_ID_MAX)
        abort();
    if (schemas_item_key(row.tenant, row.id) != row.key) abort();
}

static void session(struct str key, struct str value)
{
    static uint64_t items[STATE_SESSION_ITEMS_MAX];
    struct state_session session;
    struct state_sessions_head head;
    if (!state__session_decode(key, value, items, &session) &&
        (session.n < 1 || session.n > STATE_SESSION_ITEMS_MAX || session.recency == 0))
        abort();
    (void)state__sessions_head_decode(value, &head);
}

static void identity(struct str value)
{
    static char folder[] = "fuzz";
    struct state state = {.folder = folder, .formats = {STATE_FORMAT_OLDEST, STATE_FORMAT}};
    struct state_backup backup;
    struct err err = ERR_INIT;
    int64_t next = -1;
    if (state__position_decode(value, &next) && next < 0) abort();
    if (!state__identity_readable(&state, value, &err) && err.exit_code != ERR_EXIT_STORE) abort();
    if (!state__identity_decode(&state, value, &backup, &err) && err.exit_code != ERR_EXIT_STORE)
        abort();
}

static void guard(struct str key, struct str value)
{
    const char *why = state__guard_check(key, value);
    if (why && !why[0]) abort();
}

/* A marker begins as the store's own, so that its topics are reached. */
static void changelog(struct str value)
{
    static char clicks[] = "clicks", orders[] = "orders";
    char *topics[] = {clicks, orders};
    struct state state = {.topics = topics, .n_topics = 2};
    struct state_log log;
    struct err err = ERR_INIT;
    int64_t next[2];
    if (value.len > 9) memcpy(&state.belongs, value.ptr + 1, sizeof state.belongs);
    bool ok = state_marker_decode(&state, value, next, &err);
    if (ok && (next[0] < -1 || next[1] < -1)) abort();
    if (!ok && err.exit_code != ERR_EXIT_STORE) abort();
    if (state__log_decode(value, &log) && log.next < -1) abort();
}

static void view(struct str value)
{
    struct state_view_row row;
    int32_t partition;
    if (!state__view_row_decode(value, &partition, &row)) return;
    if (row.value.ptr + row.value.len != value.ptr + value.len || row.value.len > value.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t key_len = data[1] <= size - 2 ? data[1] : size - 2;
    struct str key = {(const char *)data + 2, key_len},
               value = {(const char *)data + 2 + key_len, size - 2 - key_len};
    switch (data[0] % 6) {
    case 0:
        popularity(key, value);
        break;
    case 1:
        session(key, value);
        break;
    case 2:
        identity(value);
        break;
    case 3:
        guard(key, value);
        break;
    case 4:
        changelog(value);
        break;
    default:
        view(value);
    }
    return 0;
}
