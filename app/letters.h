#ifndef APP_LETTERS_H
#define APP_LETTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "ingest/follow.h"

/* What stands in a dead-letter topic: letters (emit_dead_letter), the notes that `freshet dlq replay` leaves behind the letters
 * that it replayed, and whatever else.
 *
 * A note is a record without key and value in the letter's partition, with the headers
 *   freshet-dlq-replayed = <topic>/<partition>/<offset>   the letter
 *   freshet-dlq-to       = <topic>/<partition>/<offset>   where it stands again */

#define LETTERS_REPLAYED "freshet-dlq-replayed"
#define LETTERS_TO       "freshet-dlq-to"
/* The header of a replayed record: which letter it was. */
#define LETTERS_ORIGIN "freshet-replayed"

enum letter_kind { LETTER, LETTER_NOTE, LETTER_OTHER };

enum { LETTER_SOURCE_MAX = 320, LETTER_TEXT_MAX = 512 };

struct letter {
    enum letter_kind kind;
    const struct ingest_follow_record *record;
    /* LETTER */
    size_t n_original;             /* headers that the original had; ours stand behind them */
    char topic[LETTER_SOURCE_MAX]; /* of the original */
    int32_t partition;
    int64_t offset;
    char stage[LETTER_TEXT_MAX], reason[LETTER_TEXT_MAX], text[LETTER_TEXT_MAX];
    int64_t left_out; /* bytes of the value, which was too long for the topic; -1: it is there */
    /* LETTER_NOTE */
    char note_of[LETTER_SOURCE_MAX], note_to[LETTER_SOURCE_MAX];
};

/* Thread: any. */
void letter_read(const struct ingest_follow_record *record, struct letter *letter);

/* "topic/partition/offset"; false: it is none. topic (LETTER_SOURCE_MAX). */
bool place_parse(const char *text, char *topic, int32_t *partition, int64_t *offset);

/* Which letters of one topic were replayed, from its notes. */
struct letter_notes;
struct letter_notes *letter_notes_new(void);
void letter_notes_free(struct letter_notes *notes);
/* Errors: ERR_FATAL more notes than 16 million. */
MUST_USE bool letter_notes_add(struct letter_notes *notes, const struct letter *note,
                               struct err *err);
/* Where the letter was replayed to last; NULL: nowhere. Lives until the next add. */
const char *letter_notes_find(const struct letter_notes *notes, int32_t partition, int64_t offset);

#endif
