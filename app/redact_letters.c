/* One look at the letters: pass 1 finds whose they are, pass 2 copies what stays. */
#include "app/redact_letters.h"

#include <stdio.h>
#include <string.h>

#include "app/sweep.h"
#include "base/clock.h"
#include "base/mem.h"
#include "emit/emit.h"

enum { CALL_MS = 10000, BATCH_MAX = 200, NUMBER_MAX = 24, WEEK_MS = 604800000 };
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
    bool is_any; /* among those that are new is one that somebody claims, or a mark */
    struct letter_notes *notes;
    struct emit_copier *copier;
};

static bool is_cut(const struct part *part)
{
    return part->has_users || part->has_ripe_mark;
}

/* ---- whose ---- */

struct headers_seen {
    const struct redact_names *names;
    size_t left; /* of the original's */
    bool is_called;
};

static bool header_see(void *context, const char *name, struct str value)
{
    struct headers_seen *seen = context;
    (void)name;
    if (seen->left-- == 0) return false;
    seen->is_called = redact_names_is_called(seen->names, value);
    return !seen->is_called;
}

enum redact_claim redact_letter_claim(struct redact_names *names, const struct letter *letter)
{
    const struct ingest_follow_record *record = letter->record;
    struct headers_seen seen = {.names = names, .left = letter->n_original};
    if (letter->kind == LETTER_NOTE || letter->kind == LETTER_MARK) return REDACT_NONE;
    ingest_follow_headers(record, header_see, &seen);
    const struct redact_record bytes = {record->key, record->value, record->timestamp_ms,
                                        seen.is_called};
    return redact_names_claim(names, &bytes);
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
        enum redact_claim claim = redact_letter_claim(work->redact->names, &letter);
        if (claim == REDACT_NONE) continue;
        work->parts[record->partition].has_users = true;
        work->redact->found += claim == REDACT_THEIRS;
        work->redact->emptied += claim == REDACT_MAYBE;
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
static bool stays(const struct work *work, const struct letter *letter, enum redact_claim claim)
{
    if (!letter_notes_is_last(work->notes, letter)) return false;
    if (letter->kind == LETTER_MARK)
        return letter->mark[0] == '1' && ripe_at(work, letter->record->timestamp_ms) > work->now_ms;
    return claim != REDACT_THEIRS;
}

/* Texts of copies that are out. */
struct texts {
    char was[LETTER_SOURCE_MAX], bytes[NUMBER_MAX];
};

static void copy_make(const struct work *work, const struct letter *letter, struct texts *texts,
                      struct emit_copy *copy)
{
    const struct ingest_follow_record *record = letter->record;
    (void)snprintf(texts->was, sizeof texts->was, "%.*s/%d/%lld", LETTER_SOURCE_MAX - 40,
                   work->topic, (int)record->partition, (long long)letter->first);
    *copy = (struct emit_copy){.topic = work->topic,
                               .partition = record->partition,
                               .key = record->key,
                               .value = record->value,
                               .timestamp_ms = record->timestamp_ms,
                               .message = record->message,
                               .n_headers = SIZE_MAX,
                               .extra = {{LETTERS_WAS, str_of(texts->was)}}};
}

static void copy_empty(const struct letter *letter, struct texts *texts, struct emit_copy *copy)
{
    int64_t bytes = letter->left_out >= 0 ? letter->left_out : (int64_t)letter->record->value.len;
    (void)snprintf(texts->bytes, sizeof texts->bytes, "%lld", (long long)bytes);
    copy->key = copy->value = (struct str){0};
    copy->first_header = letter->n_original;
    copy->n_headers = letter->kind == LETTER ? SIZE_MAX : 0;
    copy->extra[1] = (struct emit_header){LETTERS_LEFT_OUT, str_of(texts->bytes)};
    copy->extra[2] = (struct emit_header){LETTERS_TEXT, STR("")};
}

static bool move(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct work *work = context;
    struct emit_copy copies[BATCH_MAX];
    struct texts texts[BATCH_MAX];
    struct letter letter;
    int n = 0;
    for (int i = 0; i < batch->n; i++) {
        const struct ingest_follow_record *record = &batch->records[i];
        if (record->kind != FOLLOW_RECORD || record->partition >= work->n_parts ||
            record->offset >= work->parts[record->partition].cut)
            continue;
        letter_read(record, &letter);
        enum redact_claim claim = redact_letter_claim(work->redact->names, &letter);
        if (!stays(work, &letter, claim)) continue;
        copy_make(work, &letter, &texts[n], &copies[n]);
        if (claim == REDACT_MAYBE) copy_empty(&letter, &texts[n], &copies[n]);
        n++;
    }
    work->redact->moved += n;
    if (n > 0 && !emit_copy_send(work->copier, copies, n, err)) return false;
    return !flag_is_raised(work->redact->stop);
}

/* ---- reading ---- */

/* false without an error: stopped. */
static bool letters_sweep(struct work *work,
                          bool (*visit)(void *context, const struct ingest_follow_batch *batch,
                                        struct err *err),
                          int64_t (*start)(void *context, int topic, int32_t partition),
                          struct err *err)
{
    /* What another process has open may stand before letters that are committed. */
    const struct ingest_follow_options options = {.topics = &work->topic,
                                                  .n_topics = 1,
                                                  .batch_max = BATCH_MAX,
                                                  .timeout_ms = CALL_MS,
                                                  .waits_for_open = true,
                                                  .start = start,
                                                  .context = work};
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

/* ---- new ones ---- */

static int64_t new_start(void *context, int topic, int32_t partition)
{
    const struct work *work = context;
    (void)topic;
    return partition < work->redact->n_partitions ? work->redact->from[partition] : 0;
}

/* Until the first that somebody claims, or a mark whose bytes wait to go. */
static bool new_look(void *context, const struct ingest_follow_batch *batch, struct err *err)
{
    struct work *work = context;
    struct letter letter;
    (void)err;
    for (int i = 0; i < batch->n && !work->is_any; i++) {
        if (batch->records[i].kind != FOLLOW_RECORD) continue;
        letter_read(&batch->records[i], &letter);
        bool is_waiting = letter.kind == LETTER_MARK && letter.mark[0] == '1';
        work->is_any = is_waiting || redact_letter_claim(work->redact->names, &letter);
    }
    return !work->is_any && !flag_is_raised(work->redact->stop);
}

/* ---- all ---- */

static bool letters_move(struct work *work, struct err *err)
{
    const struct redact_letters *redact = work->redact;
    if (!emit_copier_open_alone(&work->copier, &redact->settings->kafka, redact->transactional_id,
                                err))
        return false;
    bool ok = marks_put(work, err) && letters_sweep(work, move, NULL, err);
    emit_copier_close(work->copier);
    return ok && letters_delete(work, err);
}

static bool is_needed(const struct work *work)
{
    for (int32_t p = 0; p < work->n_parts; p++)
        if (is_cut(&work->parts[p])) return true;
    return false;
}

static bool letters_redact(struct work *work, struct err *err)
{
    if (work->redact->from && work->n_parts > 0) {
        if (!letters_sweep(work, new_look, new_start, err)) return false;
        if (!work->is_any) return true;
    }
    work->redact->due_ms = INT64_MAX;
    return work->n_parts == 0 ||
           (letters_sweep(work, look, NULL, err) && (!is_needed(work) || letters_move(work, err)));
}

bool redact_letters(struct redact_letters *redact, struct err *err)
{
    struct clock clock = {0};
    struct kafka_topic_info info;
    struct work work = {.redact = redact, .topic = redact->settings->dlq_topic};
    redact->found = redact->emptied = redact->moved = 0;
    if (!kafka_topic_describe(&redact->settings->kafka, &work.topic, 1, &info, CALL_MS, err))
        return false;
    work.now_ms = clock_wall_ms(&clock);
    work.segment_ms = info.segment_ms > 0 ? info.segment_ms : WEEK_MS;
    work.n_parts = info.partitions;
    work.parts = mem_zalloc((size_t)info.partitions * sizeof *work.parts);
    work.notes = letter_notes_new();
    bool ok = letters_redact(&work, err);
    letter_notes_free(work.notes);
    mem_free(work.parts);
    return ok;
}
