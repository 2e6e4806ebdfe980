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
 *   freshet-dlq-to       = <topic>/<partition>/<offset>   where it stands again
 *
 * A record that stood before a letter that had to go (app/redactor.h) stands further back in its partition now, as it was, with the
 * header
 *   freshet-dlq-was      = <topic>/<partition>/<offset>   where it stood first
 * That place is its name: notes of a letter that was moved stay its notes. */

#define LETTERS_REPLAYED "freshet-dlq-replayed"
#define LETTERS_TO       "freshet-dlq-to"
#define LETTERS_WAS      "freshet-dlq-was"
/* Of a letter whose value is not there: how many bytes it has where the original stands. */
#define LETTERS_LEFT_OUT "freshet-value-left-out-bytes"
/* Why it is one, in words. */
#define LETTERS_TEXT "__connect.errors.exception.message"
/* The header of a replayed record: which letter it was. */
#define LETTERS_ORIGIN "freshet-replayed"

/* A record without key and value that the redactor leaves: from here on back letters were deleted, and their bytes are to be (1) or are
 * (0) behind the end of a segment. */
#define LETTERS_MARK "freshet-dlq-mark"

enum letter_kind { LETTER, LETTER_NOTE, LETTER_MARK, LETTER_OTHER };

enum { LETTER_SOURCE_MAX = 320, LETTER_TEXT_MAX = 512 };

struct letter {
    enum letter_kind kind;
    const struct ingest_follow_record *record;
    int64_t first; /* the offset where it stood first */
    bool is_moved; /* it stands elsewhere now */
    /* LETTER */
    size_t n_original;             /* headers that the original had; ours stand behind them */
    char topic[LETTER_SOURCE_MAX]; /* of the original */
    int32_t partition;
    int64_t offset;
    char stage[LETTER_TEXT_MAX], reason[LETTER_TEXT_MAX], text[LETTER_TEXT_MAX];
    /* Bytes of the value, which was too long for the topic, or may be of somebody who was forgotten; -1: it is there. */
    int64_t left_out;
    /* LETTER_NOTE */
    char note_of[LETTER_SOURCE_MAX], note_to[LETTER_SOURCE_MAX];
    char mark[4]; /* LETTER_MARK: "0" or "1" */
};

/* Thread: any. */
void letter_read(const struct ingest_follow_record *record, struct letter *letter);

/* "topic/partition/offset"; false: it is none. topic (LETTER_SOURCE_MAX). */
bool place_parse(const char *text, char *topic, int32_t *partition, int64_t *offset);

/* What a pass over one topic tells of its letters: which were replayed, and which stand in two places, because who moved them has not
 * deleted yet where they stood before. */
struct letter_notes;
struct letter_notes *letter_notes_new(void);
void letter_notes_free(struct letter_notes *notes);
/* A record, of whatever kind, in the order of its partition. Errors: ERR_FATAL more notes or moved letters than 16 million. */
MUST_USE bool letter_notes_add(struct letter_notes *notes, const struct letter *letter,
                               struct err *err);
/* Where the letter was replayed to last; NULL: nowhere. Lives until the next add. */
const char *letter_notes_find(const struct letter_notes *notes, const struct letter *letter);
/* It stands nowhere further back. */
bool letter_notes_is_last(const struct letter_notes *notes, const struct letter *letter);

#endif
