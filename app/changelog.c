/* Rows and markers of a shard's epochs on their way to the changelog. */
#include "app/changelog.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"

enum { MARKER_BYTES_MAX = 1 << 16 };

struct changelog {
    struct changelog_env env;
    struct clock clock;
    int n_topics;
    int64_t *next;    /* (n_partitions, n_topics) positions as of the newest epoch sent */
    bool *is_open;    /* (n_partitions) */
    bool *is_touched; /* (n_partitions) by the epoch that is being sent */
    struct buf marker;
    uint64_t rows; /* sent so far, for the planted bug */
};

struct marker {
    struct emit_mark mark;
    int32_t partition;
    int64_t sum; /* state_log_sum of its positions */
};

struct changelog_markers {
    struct marker *list; /* (n_partitions), n in use; they stay in place while the epoch is out */
    int n;
};

struct changelog *changelog_new(const struct changelog_env *env)
{
    struct changelog *changelog = mem_zalloc(sizeof *changelog);
    size_t n = (size_t)env->n_partitions;
    changelog->env = *env;
    changelog->n_topics = state_topics(env->state);
    changelog->next = mem_zalloc(n * (size_t)changelog->n_topics * sizeof *changelog->next);
    changelog->is_open = mem_zalloc(n * sizeof *changelog->is_open);
    changelog->is_touched = mem_zalloc(n * sizeof *changelog->is_touched);
    buf_init(&changelog->marker, MARKER_BYTES_MAX);
    return changelog;
}

void changelog_free(struct changelog *changelog)
{
    if (!changelog) return;
    mem_free(changelog->next);
    mem_free(changelog->is_open);
    mem_free(changelog->is_touched);
    buf_fini(&changelog->marker);
    mem_free(changelog);
}

static int64_t *positions_of(struct changelog *changelog, int32_t partition)
{
    return changelog->next + (size_t)partition * (size_t)changelog->n_topics;
}

bool changelog_open(struct changelog *changelog, int32_t partition, struct err *err)
{
    int64_t *next = positions_of(changelog, partition);
    for (int topic = 0; topic < changelog->n_topics; topic++)
        if (!state_position(changelog->env.state, topic, partition, &next[topic], err))
            return false;
    changelog->is_open[partition] = true;
    return true;
}

void changelog_close(struct changelog *changelog, int32_t partition)
{
    changelog->is_open[partition] = changelog->is_touched[partition] = false;
}

struct changelog_markers *changelog_markers_new(const struct changelog *changelog)
{
    struct changelog_markers *markers = mem_zalloc(sizeof *markers);
    markers->list = mem_zalloc((size_t)changelog->env.n_partitions * sizeof *markers->list);
    return markers;
}

void changelog_markers_free(struct changelog_markers *markers)
{
    if (!markers) return;
    mem_free(markers->list);
    mem_free(markers);
}

/* ---- sending ---- */

struct sending {
    struct changelog *changelog;
    struct emit_epoch *epoch;
    struct err *err;
    int64_t records, bytes;
};

static bool change_send(void *context, const struct state_change *change)
{
    struct sending *sending = context;
    struct changelog *changelog = sending->changelog;
    if (!changelog->is_open[change->partition]) return true;
    changelog->is_touched[change->partition] = true;
    if (fault_mutant("changelog_row_forgotten") && ++changelog->rows % 50 == 0) return true;
    if (fault_mutant("tombstones_forgotten") && !change->value.ptr) return true;
    fault_point("some_changes");
    sending->records++;
    sending->bytes += (int64_t)(change->key.len + change->value.len);
    return emit_send_change(changelog->env.emit, sending->epoch, change->partition, change->key,
                            change->value, NULL, sending->err);
}

static bool marker_send(struct sending *sending, int32_t partition,
                        struct changelog_markers *markers)
{
    struct changelog *changelog = sending->changelog;
    struct marker *marker = &markers->list[markers->n++];
    marker->partition = partition;
    marker->sum = state_log_sum(changelog->env.state, positions_of(changelog, partition));
    buf_reset(&changelog->marker);
    state_marker_encode(changelog->env.state, positions_of(changelog, partition),
                        clock_wall_ms(&changelog->clock), &changelog->marker);
    struct str value = {(const char *)changelog->marker.data, changelog->marker.len};
    sending->records++;
    sending->bytes += (int64_t)value.len;
    return emit_send_change(changelog->env.emit, sending->epoch, partition, STATE_MARKER_KEY, value,
                            &marker->mark, sending->err);
}

static bool markers_send(struct sending *sending, struct changelog_markers *markers)
{
    struct changelog *changelog = sending->changelog;
    for (int32_t partition = 0; partition < changelog->env.n_partitions; partition++) {
        if (!changelog->is_touched[partition]) continue;
        changelog->is_touched[partition] = false;
        if (!marker_send(sending, partition, markers)) return false;
    }
    return true;
}

bool changelog_send(struct changelog *changelog, struct emit_epoch *epoch,
                    const struct state_epoch *values, const struct state_move *moves, int n,
                    struct changelog_markers *markers, struct err *err)
{
    struct sending sending = {.changelog = changelog, .epoch = epoch, .err = err};
    markers->n = 0;
    for (int i = 0; i < n; i++) {
        if (!changelog->is_open[moves[i].partition]) continue;
        positions_of(changelog, moves[i].partition)[moves[i].topic] = moves[i].next;
        changelog->is_touched[moves[i].partition] = true;
    }
    bool is_early = fault_mutant("marker_before_rows");
    bool ok = !is_early || markers_send(&sending, markers);
    ok = ok && state_epoch_changes(values, change_send, &sending);
    fault_point("changes_sent");
    ok = ok && (is_early || markers_send(&sending, markers));
    fault_point_within("changes_under_way", 10000); /* what brokers take to answer some requests */
    counters_add(changelog->env.counters, METRIC_CHANGELOG_RECORDS, 0, sending.records);
    counters_add(changelog->env.counters, METRIC_CHANGELOG_BYTES, 0, sending.bytes);
    return ok;
}

void changelog_place(struct changelog *changelog, struct state_epoch *values,
                     struct changelog_markers *markers)
{
    for (int i = 0; i < markers->n; i++) {
        const struct marker *marker = &markers->list[i];
        const struct state_log log = {.next = sync_int_get(&marker->mark.offset) + 1,
                                      .wall_ms = clock_wall_ms(&changelog->clock),
                                      .sum = marker->sum};
        if (changelog->is_open[marker->partition] && log.next > 0)
            state_epoch_log_put(changelog->env.shard, values, marker->partition, &log);
    }
    markers->n = 0;
}
