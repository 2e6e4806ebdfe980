#ifndef APP_RULES_INTERNAL_H
#define APP_RULES_INTERNAL_H

#include <jansson.h>

#include "app/rules.h"
#include "base/mem.h"

/* What app/rules.c and app/rules_when.c share. */

/* One of these texts. n = 0: any. */
struct texts {
    const struct str *text; /* (n) */
    int n;
};

struct context_test {
    struct str key;
    struct texts values;
};

/* All that is given must hold. */
struct when {
    struct texts tenants, scenarios;
    const struct context_test *context; /* (n_context) */
    int n_context;
    int from_minute,
        until_minute; /* of the day, until exclusive; over midnight when from > until; equal: all day */
    uint32_t days;      /* bit 0 Monday; 0: all */
    int offset_minutes; /* of the shop's clock from UTC */
};

struct rules {
    struct arena *arena;
    struct model_rules model;
    struct model_rule rule[MODEL_RULES_MAX];
    struct when when[MODEL_RULES_MAX];
    struct str pin_id[MODEL_RULES_MAX];
    uint64_t hard;
};

struct reading {
    struct rules *rules;
    const char *path;
    struct str text;
    size_t begin, end; /* of the current rule in the text */
    int number;        /* of the current rule, from 1 */
    const char *name;  /* "" none */
    struct err *err;
};

/* ---- rules_when.c ---- */

/* Finds where rule number n (from 1) stands in the text: the n-th object two levels below the top, which only the array "rules"
 * can hold. */
void rules__find(struct reading *reading, int n);
/* key: the name that the complaint is about, for its line; "" the rule. Returns false. */
bool rules__refuse(struct reading *reading, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A copy that lives as long as the rules. */
struct str rules__text_keep(struct rules *rules, const json_t *json);
/* A text, or an array of some. */
MUST_USE bool rules__texts_read(struct reading *reading, const char *key, const json_t *json,
                                struct texts *texts);
MUST_USE bool rules__when_read(struct reading *reading, const json_t *json, struct when *when);
bool rules__when_holds(const struct when *when, const struct event *event, struct str scenario);

#endif
