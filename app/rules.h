#ifndef APP_RULES_H
#define APP_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "model/rerank.h"
#include "schemas/schemas.h"

/* The rules file (docs/RULES.md): read, checked, and turned into what model/rerank.h compares. Each rule has a condition on the
 * event (tenant, scenario, context, hour and day), which is looked at here.
 *
 * Invariant: which rules are active is a function of the event and the scenario alone; time of day and weekday are those of the
 * event's time. Thread: loaded rules never change; any thread may read them. */
struct rules;

/* Errors: ERR_FATAL exit 2: `<path>:<line>:`, which rule, what is wrong and what is expected. */
MUST_USE bool rules_load(struct rules **rules, const char *path, struct err *err);
/* The same of a text; path is for messages. */
MUST_USE bool rules_parse(struct rules **rules, const char *path, struct str text, struct err *err);
void rules_free(struct rules *rules); /* NULL is fine */

/* Lives as long as the rules. */
const struct model_rules *rules_model(const struct rules *rules);
/* A mask over rules_model: those whose conditions hold. */
uint64_t rules_active(const struct rules *rules, const struct event *event, struct str scenario);
/* The item id of a pin rule; as long as the rules. */
struct str rules_pin_id(const struct rules *rules, int rule);
/* Exclude and include rules. */
uint64_t rules_hard(const struct rules *rules);

#endif
