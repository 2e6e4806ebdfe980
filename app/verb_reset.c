/* freshet reset: where events are read from next, the store, internal topics, output topics: each apart.
 *
 * Order: what would be done is printed -> --yes -> store deleted -> topics emptied -> positions written, into a new store if the
 * old one went. Killed in between, the same command again finishes it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/owner.h"
#include "app/settings.h"
#include "app/snapshots.h"
#include "app/when.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kafka/kafka.h"
#include "state/state.h"

enum { TIMEOUT_MS = 15000, TOPICS_MAX = 64, NAME_MAX_BYTES = 256, PATH_BYTES_MAX = 4096 };

struct emptied {
    char name[NAME_MAX_BYTES];
    struct kafka_topic_info info;
};

/* One call of the verb. */
struct reset {
    const struct settings *settings;
    struct owner owner;
    bool positions, state, internal, outputs; /* what is asked for */
    int64_t at; /* of positions: KAFKA_AT_BEGIN, KAFKA_AT_END or a time */
    bool has_store;
    int n_snapshots;                   /* of this process, when they go */
    struct emptied topics[TOPICS_MAX]; /* (n_emptied) */
    int n_emptied;
    int64_t *next;     /* (n_topics, n_partitions) where to read from */
    int64_t *standing; /* the same of the store; -1 none */
};

static int partitions(const struct reset *reset)
{
    return reset->owner.identity.n_partitions;
}

/* ---- what is there ---- */

/* Nobody may be at work: a member would write its positions over ours. */
static bool group_check(const struct reset *reset, struct err *err)
{
    struct kafka_group group;
    const char *name = reset->settings->application_id;
    if (!kafka_group_describe(&reset->settings->kafka, name, &group, TIMEOUT_MS, err)) return false;
    if (group.n_members == 0) return true;
    return err_fatal(
        err, ERR_EXIT_STORE,
        "group %s is at work with %d members (%s%s): stop `freshet run` first; one that "
        "was killed or has a group.instance.id counts until session.timeout.ms=%" PRId64 " is over",
        name, group.n_members, group.members[0], group.n_members > 1 ? ", ..." : "",
        options_int(reset->settings->options, "session.timeout.ms"));
}

/* The store is nobody's, if there is one. */
static bool store_look(struct reset *reset, struct err *err)
{
    char path[PATH_BYTES_MAX];
    struct state_lock *lock;
    (void)snprintf(path, sizeof path, "%s/db", reset->settings->state_folder);
    reset->has_store = access(path, F_OK) == 0;
    if (!reset->has_store) return true;
    if (!state_lock_take(&lock, reset->settings->state_folder, NULL, err)) return false;
    state_lock_release(lock);
    return true;
}

/* <application.id>-<store>-changelog or -repartition; a store's name has no dash, so that those of an application "shop-b2b" are not
 * taken for "shop"'s. */
static bool is_internal(const char *name, const char *application_id)
{
    size_t n = strlen(application_id), len = strlen(name);
    static const char *const ends[] = {"-changelog", "-repartition"};
    if (len <= n + 1 || strncmp(name, application_id, n) != 0 || name[n] != '-') return false;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t end = strlen(ends[i]);
        if (len > n + 1 + end && strcmp(name + len - end, ends[i]) == 0)
            return memchr(name + n + 1, '-', len - n - 1 - end) == NULL;
    }
    return false;
}

static bool is_output(const char *name, const struct settings *settings)
{
    return strcmp(name, settings->recommendations_topic) == 0 ||
           strcmp(name, settings->related.topic) == 0 ||
           strcmp(name, settings->related.trending_topic) == 0;
}

static bool topic_see(void *context, const char *name, int n_partitions, int replication)
{
    struct reset *reset = context;
    bool is_wanted = (reset->internal && is_internal(name, reset->settings->application_id)) ||
                     (reset->outputs && is_output(name, reset->settings));
    if (!is_wanted || strlen(name) >= NAME_MAX_BYTES) return true;
    struct emptied *emptied = &reset->topics[reset->n_emptied++];
    (void)snprintf(emptied->name, sizeof emptied->name, "%s", name);
    emptied->info =
        (struct kafka_topic_info){.partitions = n_partitions, .replication = replication};
    return reset->n_emptied < TOPICS_MAX;
}

static bool position_see(void *context, const char *topic, int32_t partition, int64_t next)
{
    struct reset *reset = context;
    const struct settings *settings = reset->settings;
    for (int t = 0; t < settings->n_topics; t++)
        if (strcmp(settings->topics[t], topic) == 0 && partition < partitions(reset))
            reset->standing[t * partitions(reset) + partition] = next;
    return true;
}

/* Where the store stands now; one that cannot be read is told of when it matters. */
static void standing_look(struct reset *reset)
{
    struct err ignored = ERR_INIT;
    struct state *state;
    if (!reset->has_store || !state_open_readonly(&state, reset->settings->state_folder, &ignored))
        return;
    if (!state_positions_each(state, position_see, reset, &ignored))
        err_wrap(&ignored, "positions");
    state_close(state);
}

/* The offsets that `at` means; behind the last record the end. */
static bool next_ask(struct reset *reset, struct err *err)
{
    const struct settings *settings = reset->settings;
    int n = partitions(reset);
    int64_t *end = mem_alloc((size_t)n * sizeof *end);
    bool ok = true;
    for (int t = 0; ok && t < settings->n_topics; t++) {
        int64_t *next = reset->next + t * n;
        ok = kafka_offsets(&settings->kafka, settings->topics[t], n, reset->at, next, TIMEOUT_MS,
                           err) &&
             kafka_offsets(&settings->kafka, settings->topics[t], n, KAFKA_AT_END, end, TIMEOUT_MS,
                           err);
        for (int p = 0; ok && p < n; p++)
            if (next[p] < 0) next[p] = end[p];
    }
    mem_free(end);
    return ok;
}

static bool look(struct reset *reset, struct err *err)
{
    if (!owner_ask(&reset->owner, reset->settings, err) || !group_check(reset, err) ||
        !store_look(reset, err))
        return false;
    if ((reset->internal || reset->outputs) &&
        !kafka_topics_each(&reset->settings->kafka, topic_see, reset, TIMEOUT_MS, err))
        return false;
    size_t n = (size_t)(reset->settings->n_topics * partitions(reset));
    reset->next = mem_zalloc(n * sizeof *reset->next);
    reset->standing = mem_alloc(n * sizeof *reset->standing);
    for (size_t i = 0; i < n; i++)
        reset->standing[i] = -1;
    standing_look(reset);
    return !reset->positions || next_ask(reset, err);
}

/* ---- what will be done ---- */

static void positions_tell(const struct reset *reset)
{
    bool back = false, forward = false;
    for (int t = 0; t < reset->settings->n_topics; t++)
        for (int p = 0; p < partitions(reset); p++) {
            int i = t * partitions(reset) + p;
            char standing[24] = "-";
            if (reset->standing[i] >= 0)
                (void)snprintf(standing, sizeof standing, "%" PRId64, reset->standing[i]);
            printf("position   %s %d: next %s -> %" PRId64 "\n", reset->settings->topics[t], p,
                   standing, reset->next[i]);
            back = back || reset->next[i] < reset->standing[i];
            forward = forward || (reset->standing[i] >= 0 && reset->next[i] > reset->standing[i]);
        }
    if (back && !reset->state)
        printf(
            "           the store stays: events that a user's state holds already change nothing "
            "again, their lists are published again\n");
    if (forward && !reset->state)
        printf("           events that are passed over are never applied\n");
}

static void plan_tell(const struct reset *reset)
{
    const struct settings *settings = reset->settings;
    if (reset->state && reset->has_store)
        printf("store      %s/db is deleted (`freshet backup` keeps it)\n", settings->state_folder);
    if (reset->state && !reset->has_store)
        printf("store      there is none in %s\n", settings->state_folder);
    if (reset->n_snapshots > 0)
        printf("snapshots  %d in %s are deleted: they are of before\n", reset->n_snapshots,
               settings->snapshot_folder);
    if (reset->state && !reset->positions)
        printf("           the next start applies without output what the group's offsets say was "
               "told; a partition without one begins where events.start=%s says\n",
               options_text(settings->options, "events.start"));
    if (reset->state && !reset->internal && settings->related.pairs_topic)
        printf("           what %s holds is counted again: give --internal-topics, too, unless you "
               "want that\n",
               settings->related.pairs_topic);
    if (reset->state && !reset->internal && settings->changelog_topic)
        printf("           the next start restores it from %s: give --internal-topics, too, unless "
               "you want that\n",
               settings->changelog_topic);
    for (int i = 0; i < reset->n_emptied; i++)
        printf(
            "topic      %s is deleted and made again, empty: %d partitions, %d replicas, its own "
            "settings\n",
            reset->topics[i].name, reset->topics[i].info.partitions,
            reset->topics[i].info.replication);
    if ((reset->internal || reset->outputs) && reset->n_emptied == 0)
        printf("topic      none of them exists\n");
    if (reset->internal && !reset->state && reset->has_store)
        printf("           the store's positions in internal topics go to their beginning\n");
    if (reset->positions) positions_tell(reset);
    printf("           stores on other machines are not touched: run it there, too\n");
}

/* ---- doing it ---- */

static bool store_delete(const struct reset *reset, struct err *err)
{
    struct state_lock *lock;
    const char *folder = reset->settings->state_folder;
    if (!reset->has_store) return true;
    if (!state_lock_take(&lock, folder, NULL, err)) return false;
    bool ok = state_remove(folder, err);
    state_lock_release(lock);
    if (ok) printf("deleted %s/db\n", folder);
    return ok;
}

static bool topics_empty(struct reset *reset, struct err *err)
{
    for (int i = 0; i < reset->n_emptied; i++) {
        struct emptied *emptied = &reset->topics[i];
        if (!kafka_topic_empty(&reset->settings->kafka, emptied->name, &emptied->info, TIMEOUT_MS,
                               err))
            return false;
        printf("emptied %s\n", emptied->name);
    }
    return true;
}

/* The moves of the store: event topics to where they are read from next, emptied internal ones to their beginning. */
static int moves_make(const struct reset *reset, struct state_move *moves)
{
    int n = 0, width = partitions(reset);
    for (int t = 0; t < reset->settings->n_sources; t++) {
        bool is_events = t < reset->settings->n_topics;
        if (is_events ? !reset->positions : !reset->internal || reset->state) continue;
        for (int p = 0; p < width; p++)
            moves[n++] = (struct state_move){t, p, is_events ? reset->next[t * width + p] : 0};
    }
    return n;
}

static bool store_write(const struct reset *reset, const struct state_move *moves, int n,
                        struct err *err)
{
    struct state_options options = settings_state(reset->settings, 0);
    struct state *state;
    if (!state_open(&state, reset->settings->state_folder, &reset->owner.identity, &options, err))
        return false;
    struct state_shard *shard = state_shard_new(state, 0);
    bool ok = state_epoch_write(shard, state_epoch_seal(shard, moves, n), err);
    state_shard_free(shard);
    state_close(state);
    return ok;
}

/* The group's offsets, which say what was told: with exactly_once_v2 nothing below them is published again. */
static bool group_write(const struct reset *reset, struct err *err)
{
    const struct settings *settings = reset->settings;
    int width = partitions(reset), n = 0;
    struct kafka_place *places = mem_alloc((size_t)(settings->n_sources * width) * sizeof *places);
    for (int i = 0; i < settings->n_sources * width; i++) {
        bool is_events = i < settings->n_topics * width;
        if (is_events ? reset->positions : reset->internal)
            places[n++] = (struct kafka_place){settings->topics[i / width], i % width,
                                               is_events ? reset->next[i] : 0};
    }
    bool ok = n == 0 || kafka_group_move(&settings->kafka, settings->application_id, places, n,
                                         TIMEOUT_MS, err);
    mem_free(places);
    return ok;
}

static bool positions_write(const struct reset *reset, struct err *err)
{
    size_t most = (size_t)(reset->settings->n_sources * partitions(reset));
    struct state_move *moves = mem_alloc(most * sizeof *moves);
    int n = moves_make(reset, moves);
    bool is_needed = n > 0 && (reset->positions || reset->has_store);
    bool ok = (!is_needed || store_write(reset, moves, n, err)) && group_write(reset, err);
    mem_free(moves);
    if (ok && reset->positions) printf("set the positions\n");
    return ok;
}

/* A snapshot would bring back what is reset. */
static bool moves_state(const struct reset *reset)
{
    return reset->state || reset->positions || reset->internal;
}

static bool work(struct reset *reset, bool dry, bool yes, struct err *err)
{
    if (!look(reset, err)) return false;
    if (moves_state(reset) && !snapshots_remove(reset->settings, true, &reset->n_snapshots, err))
        return false;
    plan_tell(reset);
    fflush(stdout);
    if (dry) return true;
    if (!yes)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "nothing was changed: this is what would be done; --yes does it");
    if (reset->state && !store_delete(reset, err)) return false;
    if (moves_state(reset) && !snapshots_remove(reset->settings, false, &reset->n_snapshots, err))
        return false;
    return topics_empty(reset, err) && positions_write(reset, err);
}

/* ---- the command line ---- */

static bool flags_read(struct reset *reset, const struct options *flags, struct err *err)
{
    struct clock clock = {0};
    const char *to = options_text(flags, "to");
    reset->positions = to[0] != '\0';
    reset->state = options_bool(flags, "state");
    reset->internal = options_bool(flags, "internal-topics");
    reset->outputs = options_bool(flags, "output-topics");
    if (!reset->positions && !reset->state && !reset->internal && !reset->outputs)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "say what to reset: --to earliest|latest|TIME, --state, --internal-topics, "
            "--output-topics, any of them together; with --dry-run first");
    reset->at = strcmp(to, "latest") == 0 ? KAFKA_AT_END : KAFKA_AT_BEGIN;
    if (!reset->positions || strcmp(to, "latest") == 0 || strcmp(to, "earliest") == 0) return true;
    return when_parse("--to (earliest, latest)", to, clock_wall_ms(&clock), &reset->at, err);
}

static bool run(struct app *app, struct err *err)
{
    struct settings settings = {0};
    struct reset *reset = mem_zalloc(sizeof *reset);
    reset->settings = &settings;
    bool ok = flags_read(reset, app->flags, err);
    if (ok)
        ok = settings_init(&settings, app->config, err) &&
             work(reset, options_bool(app->flags, "dry-run"), options_bool(app->flags, "yes"), err);
    settings_fini(&settings);
    mem_free(reset->next);
    mem_free(reset->standing);
    mem_free(reset);
    return ok;
}

static const char group_what[] = "What", group_how[] = "How";

/* {name, type, default, min, max, unit, values, help, group} */
static const struct option_spec flags[] = {
    /* clang-format off */
    {"to", OPTION_TEXT, "", 0, 0, "", NULL, "Positions: where the events topics are read from next: earliest, latest, or a time (2026-11-22T08:30:15Z, 2h ago as 2h, ms since 1970).", group_what},
    {"state", OPTION_BOOL, "false", 0, 0, "", NULL, "The store in state.dir on this machine is deleted.", group_what},
    {"internal-topics", OPTION_BOOL, "false", 0, 0, "", NULL, "Topics <application.id>-...-repartition and -changelog become empty.", group_what},
    {"output-topics", OPTION_BOOL, "false", 0, 0, "", NULL, "The topics of lists, of related items and of what rises become empty; dead letters and the catalogue stay.", group_what},
    {"dry-run", OPTION_BOOL, "false", 0, 0, "", NULL, "Only say what would be done.", group_how},
    {"yes", OPTION_BOOL, "false", 0, 0, "", NULL, "Do it. Without it only the plan is printed, and the exit code is 2.", group_how},
    /* clang-format on */
};

const struct verb verb_reset = {
    .name = "reset",
    .summary = "read events again or from elsewhere, delete state, empty topics",
    .usage = "freshet reset --config shop.properties [--to earliest|latest|TIME] [--state] "
             "[--internal-topics] [--output-topics] [--dry-run | --yes]",
    .help =
        "Each part is apart; nothing else is touched. It refuses while a process of this "
        "application.id is at work. Topics are\n"
        "emptied by deleting them and making them again with their partitions, replicas and own "
        "settings. The position is kept in\n"
        "the store, beside the state; the group's offsets, which say what was published, are set "
        "with "
        "it.\n\n"
        "Begin again as if never started:\n"
        "  freshet reset --config shop.properties --to earliest --state --internal-topics "
        "--output-topics --dry-run\n"
        "Publish the lists of the last two hours' events again, from the state as it is:\n"
        "  freshet reset --config shop.properties --to 2h --yes\n"
        "Forget the state of a bad day and build it from what the topics held since:\n"
        "  freshet reset --config shop.properties --to 2026-11-22 --state --internal-topics --yes",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .uses_config = true,
    .run = run,
};
