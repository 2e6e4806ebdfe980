#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

/* "Did you mean ...?": edit distances between short words. Thread: any. */

enum { SUGGEST_WORD_MAX = 64 };

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b (Damerau 1964, optimal string alignment);
 * case does not matter. A word of SUGGEST_WORD_MAX bytes or more is SUGGEST_WORD_MAX away from all. */
int suggest_distance(const char *a, const char *b);

/* The largest distance at which a candidate is worth naming: a third of the word, at least 2. */
int suggest_limit(const char *word);

#endif
