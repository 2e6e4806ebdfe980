/* What happens next in the simulated shop: a binary heap of tasks, earliest first, ties in order of
 * creation. */
#include "app/shop_internal.h"

#include "base/mem.h"

static bool before(const struct shop_task *a, const struct shop_task *b)
{
    if (a->time_us != b->time_us) return a->time_us < b->time_us;
    return a->number < b->number;
}

void shop__agenda_add(struct shop_agenda *agenda, int64_t time_us, enum shop_task_kind kind,
                      int32_t index)
{
    if (agenda->n == agenda->cap) {
        agenda->cap = agenda->cap ? agenda->cap * 2 : 256;
        agenda->tasks = mem_realloc(agenda->tasks, agenda->cap * sizeof(*agenda->tasks));
    }
    struct shop_task task = {
        .time_us = time_us, .number = agenda->created++, .index = index, .kind = kind};
    size_t at = agenda->n++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!before(&task, &agenda->tasks[parent])) break;
        agenda->tasks[at] = agenda->tasks[parent];
        at = parent;
    }
    agenda->tasks[at] = task;
}

struct shop_task shop__agenda_take(struct shop_agenda *agenda)
{
    struct shop_task first = agenda->tasks[0];
    struct shop_task last = agenda->tasks[--agenda->n];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= agenda->n) break;
        if (child + 1 < agenda->n && before(&agenda->tasks[child + 1], &agenda->tasks[child]))
            child++;
        if (!before(&agenda->tasks[child], &last)) break;
        agenda->tasks[at] = agenda->tasks[child];
        at = child;
    }
    if (agenda->n > 0) agenda->tasks[at] = last;
    return first;
}
