/* Rule 7 of docs/STATE.md: what was bought and disliked, oldest first. */
#include <string.h>

#include "tests/oracle/reference.h"

static int set_remove(uint64_t *set, int n, uint64_t key)
{
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (set[i] != key) set[kept++] = set[i];
    return kept;
}

static int set_add(uint64_t *set, int n, int max, uint64_t key)
{
    n = set_remove(set, n, key);
    if (n == max) {
        memmove(set, set + 1, (size_t)(n - 1) * sizeof *set);
        n--;
    }
    set[n++] = key;
    return n;
}

void reference_sets_change(struct reference_user *user, enum event_type type, uint64_t key)
{
    if (type == EVENT_PURCHASE) user->n_bought = set_add(user->bought, user->n_bought, 128, key);
    if (type == EVENT_REFUND) user->n_bought = set_remove(user->bought, user->n_bought, key);
    if (type == EVENT_DISLIKE)
        user->n_disliked = set_add(user->disliked, user->n_disliked, 64, key);
    if (type == EVENT_LIKE) user->n_disliked = set_remove(user->disliked, user->n_disliked, key);
}
