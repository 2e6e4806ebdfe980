/* One look at the letters: pass 1 finds whose they are, pass 2 copies what stays. */
#include "app/redact_letters.h"

#include <stdio.h>
#include <string.h>

#include "app/letters.h"
#include "app/sweep.h"
#include "base/clock.h"
#include "base/mem.h"
#include "emit/emit.h"

enum { CALL_MS = 10000, BATCH_MAX = 200, ARENA_BLOCK = 1 << 16, WEEK_MS = 604800000 };
/* By how much a clock may be behind the broker's. */
enum { SLACK_MS = 1000 };

/* A partition of the letters. */
struct part {
    bool has_users, has_ripe_mark;
    int64_t cut; /* records before it go; 0: it stays as it is */
};

struct work {
    struct redact_letters *redact;
    const char *topic;
    int64_t now_ms, segment_ms;
    struct part *parts; /* (n_parts) */
    int n_parts;
    struct arena *scratch;
    struct letter_notes *notes;
    struct emit_copier *copier;
};

static bool is_cut(const struct part *part)
{
    return part->has_users || part->has_ripe_mark;
}

static bool is_users(struct work *work, const struct letter *letter)
{
    const struct redact_letters *redact = work->redact;
    const struct ingest_follow_record *record = letter->record;
    if (letter->kind == LETTER_NOTE || letter->kind == LETTER_MARK) return false;
    arena_reset(work->scratch);
    return redact_names_hold(redact->names, redact->settings->pseudonyms, redact->schemas,
                             work->scratch, record->key, record->value);
}

static int64_t ripe_at(const struct work *work, int64_t mark_ms)
{
    return mark_ms + work->segment_ms + SLACK_MS;
}

static void due_note(struct work *work, int64_t mark_ms)
{
    int64_t due_ms = ripe_at(work, mark_ms);
    if (due_ms < work->redact->due_ms) work->redact->due_ms = due_ms;
}

/* ---- pass 1 ---- */

static void mark_look(struct work *work, const struct letter *letter)
{
    const struct ingest_follow_record *record = letter->record;
    if (letter->mark[0] != '1') return;
    if (ripe_at(work, record->timestamp_ms) <= work->now_ms)
        work->parts[record->partition].has_ripe_mark = true;
    else
        due_note(work, record->timestamp_ms);
}

static bool look(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct work *work = context;
    struct letter letter;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (record->kind != FOLLOW_RECORD || record->partition >= work->n_parts) continue;
        letter_read(record, &letter);
        if (!letter_notes_add(work->notes, &letter, err)) return false;
        if (letter.kind == LETTER_MARK) mark_look(work, &letter);
        if (!is_users(work, &letter)) continue;
        work->parts[record->partition].has_users = true;
        work->redact->found++;
    }
    return !flag_is_raised(work->redact->stop);
}

/* ---- marks ---- */

/* Alone, before anything is copied: what comes behind them is of a new segment, where there is to be one. */
static bool marks_put(struct work *work, struct err *err)
{
    struct emit_copy *marks = mem_zalloc((size_t)work->n_parts * sizeof *marks);
    int n = 0;
    for (int32_t p = 0; p < work->n_parts; p++) {
        const struct part *part = &work->parts[p];
        if (!is_cut(part)) continue;
        marks[n++] =
            (struct emit_copy){.topic = work->topic,
                               .partition = p,
                               .timestamp_ms = work->now_ms,
                               .extra = {{LETTERS_MARK, part->has_users ? STR("1") : STR("0")}}};
    }
    bool ok = emit_copy_send(work->copier, marks, n, err);
    for (int i = 0; i < n && ok; i++) {
        struct part *part = &work->parts[marks[i].partition];
        part->cut = marks[i].at_offset;
        if (part->has_users) due_note(work, work->now_ms);
    }
    mem_free(marks);
    return ok;
}

/* ---- pass 2 ---- */

/* Marks that are of no use any more, users' letters, and what was moved already go. */
static bool stays(struct work *work, const struct letter *letter)
{
    if (!letter_notes_is_last(work->notes, letter)) return false;
    if (letter->kind == LETTER_MARK)
        return letter->mark[0] == '1' && ripe_at(work, letter->record->timestamp_ms) > work->now_ms;
    return !is_users(work, letter);
}

static bool move(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct work *work = context;
    struct emit_copy copies[BATCH_MAX];
    char places[BATCH_MAX][LETTER_SOURCE_MAX];
    struct letter letter;
    int n = 0;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (record->kind != FOLLOW_RECORD || record->partition >= work->n_parts ||
            record->offset >= work->parts[record->partition].cut)
            continue;
        letter_read(record, &letter);
        if (!stays(work, &letter)) continue;
        (void)snprintf(places[n], sizeof places[n], "%.*s/%d/%lld", LETTER_SOURCE_MAX - 40,
                       work->topic, (int)record->partition, (long long)letter.first);
        copies[n] = (struct emit_copy){.topic = work->topic,
                                       .partition = record->partition,
                                       .key = record->key,
                                       .value = record->value,
                                       .timestamp_ms = record->timestamp_ms,
                                       .message = record->message,
                                       .n_headers = SIZE_MAX,
                                       .extra = {{LETTERS_WAS, str_of(places[n])}}};
        n++;
    }
    work->redact->moved += n;
    if (n > 0 && !emit_copy_send(work->copier, copies, n, err)) return false;
    return !flag_is_raised(work->redact->stop);
}

/* ---- all ---- */

/* false without an error: stopped. */
static bool letters_sweep(struct work *work,
                          bool (*visit)(void *context, const struct ingest_follow_batch *batch,
                                        struct err *err),
                          struct err *err)
{
    /* What another process has open may stand before letters that are committed. */
    const struct ingest_follow_options options = {.topics = &work->topic,
                                                  .n_topics = 1,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = CALL_MS,
                                                  .waits_for_open = true};
    return sweep(&work->redact->settings->kafka, &options, visit, work, err) &&
           !flag_is_raised(work->redact->stop);
}

static bool letters_delete(struct work *work, struct err *err)
{
    struct kafka_place *places = mem_alloc((size_t)work->n_parts * sizeof *places);
    int n = 0;
    for (int32_t p = 0; p < work->n_parts; p++)
        if (is_cut(&work->parts[p]))
            places[n++] = (struct kafka_place){work->topic, p, work->parts[p].cut};
    bool ok = kafka_records_delete(&work->redact->settings->kafka, places, n, CALL_MS, err);
    mem_free(places);
    return ok;
}

static bool letters_move(struct work *work, struct err *err)
{
    const struct redact_letters *redact = work->redact;
    if (!emit_copier_open_alone(&work->copier, &redact->settings->kafka, redact->transactional_id,
                                err))
        return false;
    bool ok = marks_put(work, err) && letters_sweep(work, move, err);
    emit_copier_close(work->copier);
    return ok && letters_delete(work, err);
}

static bool is_needed(const struct work *work)
{
    for (int32_t p = 0; p < work->n_parts; p++)
        if (is_cut(&work->parts[p])) return true;
    return false;
}

bool redact_letters(struct redact_letters *redact, struct err *err)
{
    struct clock clock = {0};
    struct kafka_topic_info info;
    struct work work = {.redact = redact, .topic = redact->settings->dlq_topic};
    redact->found = redact->moved = 0;
    redact->due_ms = INT64_MAX;
    if (!kafka_topic_describe(&redact->settings->kafka, &work.topic, 1, &info, CALL_MS, err))
        return false;
    work.now_ms = clock_wall_ms(&clock);
    work.segment_ms = info.segment_ms > 0 ? info.segment_ms : WEEK_MS;
    work.n_parts = info.partitions;
    work.parts = mem_zalloc((size_t)info.partitions * sizeof *work.parts);
    work.scratch = arena_new(ARENA_BLOCK, SIZE_MAX);
    work.notes = letter_notes_new();
    bool ok = info.partitions == 0 || letters_sweep(&work, look, err);
    if (ok && is_needed(&work)) ok = letters_move(&work, err);
    letter_notes_free(work.notes);
    arena_free(work.scratch);
    mem_free(work.parts);
    return ok;
}
