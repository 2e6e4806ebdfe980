/* The view: rows, tombstones, positions, and what it refuses. */
#include "base/rng.h"
#include "state/view.h"
#include "tests/state/fixture.h"

enum { BYTES = 4 << 20 };

static char folder[256];

static struct state_view_options options_of(const char *cluster, const char *lists)
{
    return (struct state_view_options){
        .cluster_id = cluster, .topics = {lists, "related", "", "items"}, .rocksdb_bytes = BYTES};
}

static struct state_view *view_open(void)
{
    struct err err = ERR_INIT;
    struct state_view *view;
    struct state_view_options options = options_of("cluster-1", "lists");
    CHECK_OK(state_view_open(&view, folder, &options, &err), err);
    return view;
}

static void put(struct state_view *view, enum state_view_family family, int32_t partition,
                int64_t offset, const char *key, const char *value)
{
    const struct state_view_record record = {
        .family = family,
        .partition = partition,
        .offset = offset,
        .timestamp_ms = 1000 + offset,
        .key = str_of(key),
        .value = value ? str_of(value) : (struct str){NULL, 0},
    };
    state_view_put(view, &record);
}

static void write_out(struct state_view *view)
{
    struct err err = ERR_INIT;
    CHECK_OK(state_view_write(view, &err), err);
}

/* want NULL: nothing. */
static void expect(struct state_view *view, enum state_view_family family, const char *key,
                   const char *want, int64_t timestamp_ms)
{
    struct err err = ERR_INIT;
    struct state_view_row row;
    bool found;
    CHECK_OK(state_view_get(view, family, str_of(key), &found, &row, &err), err);
    CHECK_INT(found, want != NULL);
    if (!found) return;
    CHECK_BYTES(row.value.ptr, row.value.len, want, strlen(want));
    CHECK_INT(row.timestamp_ms, timestamp_ms);
    state_view_release(&row);
}

static int64_t position(struct state_view *view, enum state_view_family family, int32_t partition)
{
    struct err err = ERR_INIT;
    int64_t next = -2;
    CHECK_OK(state_view_position(view, family, partition, &next, &err), err);
    return next;
}

static void rows_and_positions_come_together(void)
{
    struct state_view *view = view_open();
    CHECK_INT(position(view, VIEW_LISTS, 0), -1);
    put(view, VIEW_LISTS, 0, 7, "u1", "first");
    put(view, VIEW_ITEMS, 0, 2, "u1", "an item");
    expect(view, VIEW_LISTS, "u1", NULL, 0); /* not written */
    CHECK_INT(position(view, VIEW_LISTS, 0), -1);
    write_out(view);
    expect(view, VIEW_LISTS, "u1", "first", 1007);
    expect(view, VIEW_ITEMS, "u1", "an item", 1002);
    put(view, VIEW_LISTS, 0, 8, "u1", "second");
    put(view, VIEW_LISTS, 0, 9, "u2", "");
    put(view, VIEW_ITEMS, 0, 3, "u1", NULL);
    write_out(view);
    put(view, VIEW_LISTS, 0, 10, "u3", "forgotten");
    state_view_close(view); /* what was not written is gone */
    view = view_open();
    expect(view, VIEW_LISTS, "u1", "second", 1008);
    expect(view, VIEW_LISTS, "u2", "", 1009);
    expect(view, VIEW_LISTS, "u3", NULL, 0);
    expect(view, VIEW_ITEMS, "u1", NULL, 0);
    CHECK_INT(position(view, VIEW_LISTS, 0), 10);
    CHECK_INT(position(view, VIEW_LISTS, 1), -1);
    CHECK_INT(position(view, VIEW_ITEMS, 0), 4);
    state_view_close(view);
}

struct seen {
    int n;
    char keys[16][16];
};

static bool see(void *context, struct str key, struct str value, int64_t timestamp_ms)
{
    struct seen *seen = context;
    (void)value;
    (void)timestamp_ms;
    (void)snprintf(seen->keys[seen->n++], sizeof seen->keys[0], "%.*s", STR_ARG(key));
    return seen->n < 16;
}

/* A partition whose log is another one now takes its own rows along, also those that wait. */
static void a_partition_is_forgotten_alone(void)
{
    struct err err = ERR_INIT;
    struct seen seen = {0};
    struct state_view *view = view_open();
    put(view, VIEW_RELATED, 0, 5, "a", "x");
    put(view, VIEW_RELATED, 1, 5, "b", "x");
    put(view, VIEW_TRENDING, 0, 5, "c", "x");
    write_out(view);
    put(view, VIEW_RELATED, 0, 6, "d", "x");
    CHECK_OK(state_view_forget(view, VIEW_RELATED, 0, &err), err);
    put(view, VIEW_RELATED, 0, 0, "e", "new log");
    write_out(view);
    CHECK_OK(state_view_each(view, VIEW_RELATED, see, &seen, &err), err);
    CHECK_INT(seen.n, 2);
    CHECK_STR(seen.keys[0], "b");
    CHECK_STR(seen.keys[1], "e");
    CHECK_INT(position(view, VIEW_RELATED, 0), 1);
    CHECK_INT(position(view, VIEW_RELATED, 1), 6);
    CHECK_INT(position(view, VIEW_TRENDING, 0), 6);
    state_view_close(view);
}

static void refuse(const char *cluster, const char *lists)
{
    struct err err = ERR_INIT;
    struct state_view *view;
    struct state_view_options options = options_of(cluster, lists);
    CHECK_FAIL(state_view_open(&view, folder, &options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, "move the folder away");
}

static void others_are_refused(void)
{
    struct err err = ERR_INIT;
    struct state_view *second;
    struct state_view_options options = options_of("cluster-1", "lists");
    struct state_view *view = view_open();
    CHECK_FAIL(state_view_open(&second, folder, &options, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "another process owns the view");
    state_view_close(view);
    refuse("cluster-2", "lists");
    refuse("cluster-1", "other-lists");
    state_view_close(view_open());
}

int main(void)
{
    fixture_folder(folder, sizeof folder);
    CASE(rows_and_positions_come_together);
    CASE(a_partition_is_forgotten_alone);
    CASE(others_are_refused);
    fixture_remove(folder);
    return 0;
}
