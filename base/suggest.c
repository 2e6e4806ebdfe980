/* Edit distance over three rows of the classic table. */
#include "base/suggest.h"

#include <string.h>

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

int suggest_distance(const char *a, const char *b)
{
    int n = (int)strnlen(a, SUGGEST_WORD_MAX), m = (int)strnlen(b, SUGGEST_WORD_MAX);
    if (n == SUGGEST_WORD_MAX || m == SUGGEST_WORD_MAX) return SUGGEST_WORD_MAX;

    int rows[3][SUGGEST_WORD_MAX]; /* distances of a[:i] to every b[:j], for the last three i */
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int same = lower(a[i - 1]) == lower(b[j - 1]);
            now[j] = least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                now[j] = least(now[j], earlier[j - 2] + 1);
            }
        }
    }
    return rows[n % 3][m];
}

int suggest_limit(const char *word)
{
    int limit = (int)strnlen(word, SUGGEST_WORD_MAX) / 3;
    return limit < 2 ? 2 : limit;
}
