/* Hard rules (docs/RULES.md) over what the server lists by itself: lists for sessions, and what stands in for a user's list or fills
 * it. Lists of the topic have been through the rules of the pipeline, under their own event (app/policy.h).
 *
 * What a hard rule says of an item changes with the item's record and with the file alone, so it is looked at then, and kept as a bit
 * for each rule. A request only asks which rules are active. */
#include "app/http_internal.h"

#include "app/catalogue.h"
#include "app/rules_watch.h"

/* In freshet run the pipeline's rules; freshet serve watches the file itself. */
static struct rules_watch *watch_of(const struct http *http)
{
    const struct http_options *options = &http->options;
    return options->pipeline ? pipeline_rules(options->pipeline) : http->own_rules;
}

bool http__rules_open(struct http *http, struct err *err)
{
    const struct options *config = http->options.settings->options;
    const char *path = options_text(config, "rules.file");
    if (!http->options.pipeline && path[0] &&
        !rules_watch_open(&http->own_rules, path, options_int(config, "rules.check.interval.ms"),
                          err))
        return false;
    if (watch_of(http)) http->rules = rules_watch_take(watch_of(http));
    return true;
}

void http__rules_close(struct http *http)
{
    if (http->rules) rules_watch_release(watch_of(http), http->rules);
    rules_watch_close(http->own_rules);
}

bool http__rules_follow(struct http *http)
{
    struct rules_watch *watch = watch_of(http);
    if (http->own_rules) rules_watch_serve(http->own_rules, http__now_ms());
    if (!watch || !rules_watch_has_newer(watch, http->rules)) return false;
    rules_watch_release(watch, http->rules);
    http->rules = rules_watch_take(watch);
    return true;
}

void http_reload(struct http *http)
{
    if (http->own_rules) rules_watch_reload(http->own_rules);
}

uint64_t http__rules_refuse(struct http *http, const struct item *item)
{
    struct model_offer offer;
    uint64_t refused = 0, hard = http->rules ? rules_hard(http->rules) : 0;
    if (hard == 0) return 0;
    uint64_t *hashes =
        arena_alloc(http->arena, (item->n_categories + item->n_attributes + 1) * sizeof *hashes);
    catalogue_offer(item, hashes, hashes + item->n_categories, &offer);
    for (uint64_t left = hard; left; left &= left - 1) {
        uint64_t rule = left & -left;
        if (!model_rules_allow(rules_model(http->rules), rule, &offer)) refused |= rule;
    }
    return refused;
}

void http__ask(struct http *http, struct str tenant, const struct event *event)
{
    struct event asking = {.tenant = tenant};
    http->now_ms = http__now_ms();
    http->refusing = 0;
    if (!http->rules) return;
    if (event) asking = *event;
    asking.time_ms = http->now_ms;
    http->refusing = rules_active(http->rules, &asking, STR("default")) & rules_hard(http->rules);
}

bool http__may_list(void *context, uint64_t key)
{
    const struct http *http = context;
    const struct shelf_item *item = shelf_get(http->shelf, key);
    if (!shelf_is_listed(item, http->now_ms)) return false;
    if (http->refusing == 0) return true;
    if (item) return (item->refused & http->refusing) == 0;
    const struct model_offer none = model_offer_none(key);
    return model_rules_allow(rules_model(http->rules), http->refusing, &none);
}
