/* Another format of the store: the program that comes next opens today's store and raises it; today's program refuses it from
 * then on; so does a later one that has forgotten today's format. Killed in between, either the old or the new program opens it. */
#include "tests/state/fixture.h"

static const struct state__formats now = {STATE_FORMAT_OLDEST, STATE_FORMAT},
                                   next = {STATE_FORMAT_OLDEST, STATE_FORMAT + 1},
                                   later = {STATE_FORMAT + 1, STATE_FORMAT + 2};

static char folder[256];

static bool open_as(struct state **state, struct state__formats formats, struct err *err)
{
    struct state_identity identity = fixture_identity();
    struct state_options options = fixture_options();
    return state__open_as(state, folder, &identity, &options, formats, err);
}

/* One user with n views, and the position behind them. */
static void views_check(struct state *state, int n)
{
    struct state_shard *shard = fixture_shard_of(state, 1);
    CHECK_INT(fixture_get(shard, 1, 3)->n_window, n);
    CHECK_INT(fixture_position(state, 0, 1), n > 0 ? n : -1);
    state_shard_free(shard);
}

static void view_add(struct state *state, int n)
{
    struct state_shard *shard = fixture_shard_of(state, 1);
    fixture_view(shard, fixture_get(shard, 1, 3), n, 1000 * n, n - 1);
    fixture_commit(shard, 1, n);
    state_shard_free(shard);
}

static void refused(struct state__formats formats, const char *words)
{
    struct err err = ERR_INIT;
    struct state *state;
    CHECK_FAIL(open_as(&state, formats, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_STORE);
    CHECK_CONTAINS(err.text, words);
    err = (struct err)ERR_INIT;
    CHECK_FAIL(state__open_readonly_as(&state, folder, formats, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, words);
}

static void opened(struct state__formats formats, int n)
{
    struct err err = ERR_INIT;
    struct state *state;
    CHECK_OK(open_as(&state, formats, &err), err);
    views_check(state, n - 1);
    view_add(state, n);
    views_check(state, n);
    state_close(state);
}

/* A reader of the next program leaves the store as it is. */
static void read_only(int n)
{
    struct err err = ERR_INIT;
    struct state *state;
    CHECK_OK(state__open_readonly_as(&state, folder, next, &err), err);
    struct state_backup backup = {0};
    CHECK_OK(state__identity_read(state, &backup, &err), err);
    CHECK_INT(backup.format, n);
    state_close(state);
}

static void there_and_not_back(void)
{
    fixture_folder(folder, sizeof folder);
    opened(now, 1);
    refused(later, "older freshet");
    read_only(STATE_FORMAT);
    opened(now, 2); /* reading it did not raise it */
    opened(next, 3);
    read_only(STATE_FORMAT + 1);
    refused(now, "newer freshet");
    opened(next, 4);
    opened(later, 5);
    refused(next, "newer freshet");
    fixture_remove(folder);
}

/* The identity of another cluster is refused before the format is raised. */
static void refused_as_it_was(void)
{
    struct err err = ERR_INIT;
    struct state *state;
    struct state_identity other = fixture_identity();
    struct state_options options = fixture_options();
    other.cluster_id = "cluster-2";
    fixture_folder(folder, sizeof folder);
    opened(now, 1);
    CHECK_FAIL(state__open_as(&state, folder, &other, &options, next, &err), err, ERR_FATAL);
    opened(now, 2);
    fixture_remove(folder);
}

int main(void)
{
    CASE(there_and_not_back);
    CASE(refused_as_it_was);
    return 0;
}
