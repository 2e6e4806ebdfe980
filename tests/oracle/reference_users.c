/* The users of the reference, and rule 17 of docs/STATE.md: a user goes, the moment stays. */
#include <string.h>

#include "base/mem.h"
#include "tests/oracle/reference.h"

struct reference_user *reference_users_find(const struct reference_users *users, int32_t partition,
                                            struct str key)
{
    for (int i = 0; i < users->n; i++) {
        struct reference_user *user = users->list[i];
        if (user->partition == partition && str_equal((struct str){user->key, user->key_len}, key))
            return user;
    }
    return NULL;
}

struct reference_user *reference_users_get(struct reference_users *users, int32_t partition,
                                           struct str key)
{
    struct reference_user *user = reference_users_find(users, partition, key);
    if (user) return user;
    user = mem_zalloc(sizeof *user);
    user->partition = partition;
    user->key = mem_strndup(key.ptr, key.len);
    user->key_len = key.len;
    user->last_offset = -1;
    user->newest_ms = INT64_MIN;
    user->erased_ms = INT64_MIN;
    user->is_gone = true;
    if (users->n == users->cap) {
        users->cap = users->cap ? users->cap * 2 : 64;
        users->list =
            mem_realloc(users->list, (size_t)users->cap * sizeof(struct reference_user *));
    }
    users->list[users->n++] = user;
    return user;
}

int reference_users_here(const struct reference_users *users)
{
    int n = 0;
    for (int i = 0; i < users->n; i++)
        n += !users->list[i]->is_gone;
    return n;
}

void reference_users_free(struct reference_users *users)
{
    for (int i = 0; i < users->n; i++) {
        mem_free(users->list[i]->window);
        mem_free(users->list[i]->key);
        mem_free(users->list[i]);
    }
    mem_free(users->list);
}

struct reference_erased reference_user_erase(struct reference_user *user, int64_t erased_ms)
{
    struct reference_erased erased = {.is_repeated = user->erased_ms >= erased_ms, .user = user};
    if (erased.is_repeated) return erased;
    erased.is_found = !user->is_gone;
    erased.events = user->events;
    erased.window = user->n_window;
    erased.bought = user->n_bought;
    erased.disliked = user->n_disliked;
    mem_free(user->window);
    *user = (struct reference_user){.partition = user->partition,
                                    .key = user->key,
                                    .key_len = user->key_len,
                                    .erased_ms = erased_ms,
                                    .is_gone = true,
                                    .last_offset = -1,
                                    .newest_ms = INT64_MIN};
    return erased;
}
