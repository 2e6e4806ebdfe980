#ifndef APP_REDACT_LETTERS_H
#define APP_REDACT_LETTERS_H

#include "app/letters.h"
#include "app/redact_names.h"
#include "app/settings.h"
#include "base/err.h"
#include "base/sync.h"

/* Takes letters of forgotten users out of the dead-letter topic, and the bytes out of those that may be theirs (app/redact_names.h).
 * Kafka deletes the beginning of a partition, not single records. So where such a letter stands a mark is put at the partition's end (M),
 * what is before it and nobody's is copied behind it, with the name of where it stood first (app/letters.h), and everything before the
 * mark is deleted:
 *
 *     a b X c X d  ->  a b X c X d M  ->  a b X c X d M a' b' c' d'  ->  M a' b' c' d'
 *
 * A letter that may be a user's is copied as one whose value was left out: without key, value, text, and headers of the original; it says
 * why it is here and where the original stands.
 *
 * Nobody reads X any more. Its bytes leave the broker's files with the last record of their segment; the mark may have begun a new segment
 * or not. So once a mark is as old as a segment can get (segment.ms) the same is done once more, which then does begin one, and no record
 * that is readable stands in a segment with X.
 *
 * A crash between copying and deleting leaves letters twice: the last of a name counts, here and for `freshet dlq`. Should two
 * processes be at it, the older one cannot copy (emit_copier_open_alone), and who cannot copy deletes nothing. */
struct redact_letters {
    const struct settings *settings;
    struct redact_names *names; /* whose */
    const char *transactional_id;
    const struct flag *stop; /* ends it: false, without an error */
    /* (n_partitions) Letters before these were looked at, when all the names were known: where none of those behind is a user's nothing is
     * done, unless there is a mark among them. NULL: all are looked at. */
    const int64_t *from;
    int n_partitions;
    /* what came of it */
    int64_t found, emptied, moved; /* letters that went, lost their bytes, stand elsewhere */
    /* When the bytes of some letters can go; INT64_MAX: none wait. As it was where nothing was done. */
    int64_t due_ms;
};

/* Thread: one. Errors: ERR_FATAL as Kafka says; whatever was done is right as it stands, a second call goes on. */
MUST_USE bool redact_letters(struct redact_letters *redact, struct err *err);
/* What a record of the topic is to the names (redact_names_claim); headers of the original count. */
enum redact_claim redact_letter_claim(struct redact_names *names, const struct letter *letter);

#endif
