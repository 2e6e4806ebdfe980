/* Reading dead letters. */
#include "app/letters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { NOTES_MAX = 16 << 20, NOTES_TEXT_MAX = 1 << 30 };

/* ---- places ---- */

/* A number that ends the text up to `end`. */
static bool number_parse(const char *text, const char *end, int64_t max, int64_t *number)
{
    char *stop;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    *number = strtoll(text, &stop, 10);
    return !errno && stop == end && *number <= max;
}

bool place_parse(const char *text, char *topic, int32_t *partition, int64_t *offset)
{
    const char *last = strrchr(text, '/'), *first = last;
    int64_t number;
    while (first && first > text && first[-1] != '/')
        first--;
    if (!last || first <= text + 1 || (size_t)(first - 1 - text) >= LETTER_SOURCE_MAX) return false;
    if (!number_parse(first, last, INT32_MAX, &number)) return false;
    if (!number_parse(last + 1, last + strlen(last), INT64_MAX, offset)) return false;
    *partition = (int32_t)number;
    memcpy(topic, text, (size_t)(first - 1 - text));
    topic[first - 1 - text] = '\0';
    return true;
}

/* ---- one record ---- */

struct reading {
    struct letter *letter;
    size_t n; /* headers so far */
    char partition[24], offset[24], left_out[24], was[LETTER_SOURCE_MAX];
};

static void keep(char *out, size_t cap, struct str value)
{
    (void)snprintf(out, cap, "%.*s", STR_ARG(value));
}

/* The letter's own headers are the last ones of their names; the first of them is the topic. */
static bool header_see(void *context, const char *name, struct str value)
{
    struct reading *reading = context;
    struct letter *letter = reading->letter;
    const struct {
        const char *name;
        char *out;
        size_t cap;
    } known[] = {
        {"__connect.errors.topic", letter->topic, sizeof letter->topic},
        {"__connect.errors.partition", reading->partition, sizeof reading->partition},
        {"__connect.errors.offset", reading->offset, sizeof reading->offset},
        {"__connect.errors.stage", letter->stage, sizeof letter->stage},
        {"__connect.errors.exception.class.name", letter->reason, sizeof letter->reason},
        {LETTERS_TEXT, letter->text, sizeof letter->text},
        {LETTERS_LEFT_OUT, reading->left_out, sizeof reading->left_out},
        {LETTERS_REPLAYED, letter->note_of, sizeof letter->note_of},
        {LETTERS_TO, letter->note_to, sizeof letter->note_to},
        {LETTERS_WAS, reading->was, sizeof reading->was},
        {LETTERS_MARK, letter->mark, sizeof letter->mark},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].name) == 0) keep(known[i].out, known[i].cap, value);
    if (strcmp(name, known[0].name) ==
        0) { /* what came before is the original's, or an earlier letter's */
        letter->n_original = reading->n;
        reading->left_out[0] = reading->was[0] = '\0';
        letter->note_of[0] = letter->note_to[0] = letter->mark[0] = '\0';
    }
    reading->n++;
    return true;
}

static void place_see(const struct reading *reading)
{
    struct letter *letter = reading->letter;
    char topic[LETTER_SOURCE_MAX];
    int32_t partition;
    int64_t offset;
    letter->first = letter->record->offset;
    letter->is_moved = place_parse(reading->was, topic, &partition, &offset) &&
                       partition == letter->record->partition && offset < letter->first;
    if (letter->is_moved) letter->first = offset;
}

void letter_read(const struct ingest_follow_record *record, struct letter *letter)
{
    struct reading reading = {.letter = letter};
    int64_t partition;
    *letter = (struct letter){.kind = LETTER_OTHER, .record = record, .left_out = -1};
    ingest_follow_headers(record, header_see, &reading);
    place_see(&reading);
    if (letter->note_of[0] && letter->note_to[0] && !record->value.ptr) {
        letter->kind = LETTER_NOTE;
        return;
    }
    if (letter->mark[0] && !record->value.ptr) {
        letter->kind = LETTER_MARK;
        return;
    }
    if (!letter->topic[0] || !letter->reason[0] ||
        !number_parse(reading.partition, reading.partition + strlen(reading.partition), INT32_MAX,
                      &partition) ||
        !number_parse(reading.offset, reading.offset + strlen(reading.offset), INT64_MAX,
                      &letter->offset))
        return;
    letter->kind = LETTER;
    letter->partition = (int32_t)partition;
    if (reading.left_out[0]) letter->left_out = strtoll(reading.left_out, NULL, 10);
}

/* ---- notes ---- */

struct letter_notes {
    struct map_u64 *at;   /* letter to the place of its text */
    struct map_u64 *last; /* letter that was moved to its last offset */
    struct buf texts;     /* NUL ended */
};

/* Partitions up to 16 bits and offsets up to 48: more than a dead-letter topic has. */
static uint64_t name_of(int32_t partition, int64_t first)
{
    return (uint64_t)(uint32_t)partition << 48 ^ (uint64_t)first;
}

struct letter_notes *letter_notes_new(void)
{
    struct letter_notes *notes = mem_zalloc(sizeof *notes);
    notes->at = map_u64_new(NOTES_MAX);
    notes->last = map_u64_new(NOTES_MAX);
    buf_init(&notes->texts, NOTES_TEXT_MAX);
    return notes;
}

void letter_notes_free(struct letter_notes *notes)
{
    map_u64_free(notes->at);
    map_u64_free(notes->last);
    buf_fini(&notes->texts);
    mem_free(notes);
}

static bool full(struct err *err)
{
    return err_fatal(err, ERR_EXIT_USAGE,
                     "the dead-letter topic holds more than %d notes of replays, or letters that "
                     "were moved: let its retention take old ones",
                     NOTES_MAX);
}

bool letter_notes_add(struct letter_notes *notes, const struct letter *letter, struct err *err)
{
    char topic[LETTER_SOURCE_MAX];
    int32_t partition;
    int64_t offset;
    if (letter->is_moved &&
        !map_u64_set(notes->last, name_of(letter->record->partition, letter->first),
                     (uint64_t)letter->record->offset))
        return full(err);
    if (letter->kind != LETTER_NOTE || !place_parse(letter->note_of, topic, &partition, &offset))
        return true;
    size_t at = notes->texts.len;
    buf_push(&notes->texts, letter->note_to, strlen(letter->note_to) + 1);
    return (!notes->texts.failed && map_u64_set(notes->at, name_of(partition, offset), at)) ||
           full(err);
}

bool letter_notes_is_last(const struct letter_notes *notes, const struct letter *letter)
{
    const uint64_t *last =
        map_u64_get(notes->last, name_of(letter->record->partition, letter->first));
    return !last || *last == (uint64_t)letter->record->offset;
}

const char *letter_notes_find(const struct letter_notes *notes, const struct letter *letter)
{
    const uint64_t *at = map_u64_get(notes->at, name_of(letter->record->partition, letter->first));
    return at ? (const char *)notes->texts.data + *at : NULL;
}
