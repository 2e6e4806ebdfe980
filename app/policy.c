/* Gates and filters: what lists may hold. The order of lists is in app/policy_list.c. */
#include "app/policy_internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* One question. It waits while the broker is away, and is asked again: three restarts of the broker under events (tests/e2e/faults.py
 * broker_restarts) take as long with a catalogue as without, 52 s and 68 s side by side on a busy machine; no question that was put
 * to a broker that is there took 100 ms. */
enum { CONFIRM_MS = 10000 };
#define DAY_MS INT64_C(86400000)

/* ---- life ---- */

struct policy *policy_new(const struct policy_env *env)
{
    if (!env->catalogue && !env->rules) return NULL;
    struct policy *policy = mem_zalloc(sizeof *policy);
    struct err err = ERR_INIT;
    bool ok = rules_parse(&policy->no_rules, "", STR("{\"rules\":[]}"), &err);
    (void)ok;
    policy->env = *env;
    policy->bought_ms = options_int(env->settings->options, "rules.bought.days") * DAY_MS;
    policy->is_required = options_bool(env->settings->options, "items.required");
    policy->is_stale = true;
    return policy;
}

static void filters_clear(struct policy *policy)
{
    for (int f = 0; f < FILTERS_MAX; f++)
        model_filter_free(policy->filters[f].filter);
    memset(policy->filters, 0, sizeof policy->filters);
}

void policy_free(struct policy *policy)
{
    if (!policy) return;
    filters_clear(policy);
    policy__fresh_clear(policy);
    if (policy->rules) rules_watch_release(policy->env.rules, policy->rules);
    rules_free(policy->no_rules);
    mem_free(policy);
}

const struct rules *policy__rules(const struct policy *policy)
{
    return policy->rules ? policy->rules : policy->no_rules;
}

/* ---- filters ---- */

const struct model_offer *policy__offer(const struct policy *policy, bool is_required, uint64_t key,
                                        struct model_offer *none)
{
    const struct catalogue_item *item =
        policy->env.catalogue ? catalogue_find(policy->env.catalogue, key) : NULL;
    if (item) return &item->offer;
    if (is_required) return NULL;
    *none = model_offer_none(key);
    return none;
}

/* A filter ends where an item opens or closes. */
static void bound_note(struct policy_filter *entry, int64_t bound_ms)
{
    if (bound_ms == 0) return;
    if (bound_ms <= entry->anchor_ms) {
        if (bound_ms > entry->from_ms) entry->from_ms = bound_ms;
    } else if (bound_ms < entry->until_ms) {
        entry->until_ms = bound_ms;
    }
}

static void filter_set(const struct policy *policy, struct policy_filter *entry, int32_t index)
{
    struct model_offer none;
    uint64_t key = model_item_key(policy->model, index);
    const struct model_offer *offer = policy__offer(policy, policy->is_model_required, key, &none);
    bool is_allowed = offer && model_offer_is_open(offer, entry->anchor_ms) &&
                      model_rules_allow(rules_model(policy__rules(policy)), entry->hard, offer);
    model_filter_set(entry->filter, policy->model, index, !is_allowed);
    if (!offer) return;
    bound_note(entry, offer->from_ms);
    bound_note(entry, offer->until_ms);
}

/* A free place, or that of the filter not used for longest, but none of this slice; NULL: all are. */
static struct policy_filter *filter_place(struct policy *policy)
{
    struct policy_filter *oldest = NULL;
    for (int f = 0; f < FILTERS_MAX; f++) {
        struct policy_filter *entry = &policy->filters[f];
        if (!entry->filter) return entry;
        if (entry->slice != policy->slice && (!oldest || entry->slice < oldest->slice))
            oldest = entry;
    }
    return oldest;
}

bool policy_has_room(const struct policy *policy)
{
    for (int f = 0; f < FILTERS_MAX; f++)
        if (!policy->filters[f].filter || policy->filters[f].slice != policy->slice) return true;
    return false;
}

static struct policy_filter *filter_make(struct policy *policy, uint64_t hard, int64_t time_ms)
{
    struct policy_filter *entry = filter_place(policy);
    model_filter_free(entry->filter);
    *entry = (struct policy_filter){.filter = model_filter_new(policy->model),
                                    .hard = hard,
                                    .anchor_ms = time_ms,
                                    .from_ms = INT64_MIN,
                                    .until_ms = INT64_MAX};
    for (int32_t i = 0; i < policy->info.N; i++)
        filter_set(policy, entry, i);
    return entry;
}

/* The filter for these rules at this time; NULL: nothing that it could refuse. */
static const struct model_filter *filter_find(struct policy *policy, uint64_t hard, int64_t time_ms)
{
    if (!policy->model) return NULL;
    bool has_items = policy->env.catalogue &&
                     catalogue_has_tenant(policy->env.catalogue, str_of(policy->info.tenant));
    if (!has_items && hard == 0) return NULL;
    struct policy_filter *found = NULL;
    for (int f = 0; f < FILTERS_MAX && !found; f++) {
        struct policy_filter *entry = &policy->filters[f];
        if (entry->filter && entry->hard == hard && time_ms >= entry->from_ms &&
            time_ms < entry->until_ms)
            found = entry;
    }
    if (!found) found = filter_make(policy, hard, time_ms);
    found->slice = policy->slice;
    return found->filter;
}

/* ---- following model, rules and catalogue ---- */

static void model_take(struct policy *policy, const struct model *model)
{
    if (model == policy->model) return;
    policy->is_stale = true;
    filters_clear(policy); /* they are of the model before */
    policy->model = model;
    policy->info = (struct model_info){.tenant = ""};
    if (!model) return;
    struct model_config shape = model_shape(model);
    policy->info = model_info(model);
    policy->item_vectors =
        model_raw_params(model) + model_param_offset(&shape, MODEL_ITEM_EMBEDDING, 0);
    policy->tail_bias = model_tail_bias(model);
}

static void rules_take(struct policy *policy)
{
    static const enum model_rule_kind kinds[] = {RULE_MOST,      RULE_BOOST,   RULE_PIN,
                                                 RULE_DIVERSITY, RULE_DAMPING, RULE_EXPLORE};
    if (!policy->env.rules || !rules_watch_has_newer(policy->env.rules, policy->rules)) return;
    if (policy->rules) rules_watch_release(policy->env.rules, policy->rules);
    policy->rules = rules_watch_take(policy->env.rules);
    policy->is_stale = true;
    policy->moving = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        policy->moving |= model_rules_of(rules_model(policy->rules), kinds[k]);
}

static void changed(void *context, uint64_t key)
{
    struct policy *policy = context;
    int32_t index = policy->model ? model_item_index(policy->model, key) : -1;
    if (index < 0) {
        policy__fresh_update(policy, key);
        return;
    }
    for (int f = 0; f < FILTERS_MAX; f++)
        if (policy->filters[f].filter) filter_set(policy, &policy->filters[f], index);
}

static void catalogue_follow(struct policy *policy)
{
    struct catalogue *catalogue = policy->env.catalogue;
    uint64_t version = catalogue ? catalogue_version(catalogue) : 0;
    bool is_required = catalogue && policy->is_required && policy->model &&
                       catalogue_has_tenant(catalogue, str_of(policy->info.tenant));
    if (is_required != policy->is_model_required) policy->is_stale = true;
    policy->is_model_required = is_required;
    if (!policy->is_stale && catalogue && version != policy->version)
        policy->is_stale = !catalogue_changes(catalogue, policy->version, changed, policy);
    if (policy->is_stale) filters_clear(policy);
    if (policy->is_stale || policy->is_fresh_short) policy__fresh_make(policy);
    policy->is_stale = false;
    policy->version = version;
}

/* Waits for the catalogue. The broker may be away for task.timeout.ms. */
static bool wait_for_items(struct policy *policy, struct err *err)
{
    const struct settings *settings = policy->env.settings;
    uint64_t until_ns = clock_mono_ns() + (uint64_t)settings->task_timeout_ms * 1000000;
    if (!policy->env.catalogue || !options_bool(settings->options, "items.confirm")) return true;
    while (!catalogue_confirm(policy->env.catalogue, CONFIRM_MS, err)) {
        if (err->class != ERR_RETRY) return false;
        if (clock_mono_ns() > until_ns) {
            err->class = ERR_FATAL;
            err->exit_code = ERR_EXIT_UNREACHABLE;
            return err_wrap(err, "the catalogue is not known to be up to date");
        }
        err->class = ERR_NONE;
    }
    return true;
}

bool policy_begin(struct policy *policy, const struct model *model, bool confirm, struct err *err)
{
    if (confirm && !wait_for_items(policy, err)) return false;
    if (policy->env.catalogue) catalogue_hold(policy->env.catalogue);
    model_take(policy, model);
    rules_take(policy);
    catalogue_follow(policy);
    return true;
}

void policy_end(struct policy *policy)
{
    if (policy->env.catalogue) catalogue_release(policy->env.catalogue);
}

void policy_slice(struct policy *policy)
{
    policy->slice++;
}

/* ---- gates ---- */

void policy_gate(struct policy *policy, const struct event *event, struct policy_gate *gate)
{
    const struct rules *rules = policy__rules(policy);
    uint64_t active = rules_active(rules, event, STR("default"));
    *gate = (struct policy_gate){
        .active = active,
        .time_ms = event->time_ms,
        .tenant = event->tenant,
        .is_required = policy->is_required && policy->env.catalogue &&
                       catalogue_has_tenant(policy->env.catalogue, event->tenant),
        .is_reranked = (active & policy->moving) != 0,
        .filter = filter_find(policy, active & rules_hard(rules), event->time_ms),
    };
}

bool policy_allows(const struct policy *policy, const struct policy_gate *gate, uint64_t key)
{
    struct model_offer none;
    const struct model_offer *offer = policy__offer(policy, gate->is_required, key, &none);
    return offer && model_offer_is_open(offer, gate->time_ms) &&
           model_rules_allow(rules_model(policy__rules(policy)), gate->active, offer);
}

/* When the user bought it: the newest purchase in the window; one that the window forgot was not after its oldest event. */
static int64_t bought_at_most(const struct user *user, uint64_t key)
{
    for (int i = user->n_window - 1; i >= 0; i--)
        if (user->window[i].item == key && user->window[i].type == EVENT_PURCHASE)
            return user->window[i].time_ms;
    return user->n_window ? user->window[0].time_ms : INT64_MAX;
}

bool policy_may_repeat(const struct policy *policy, const struct policy_gate *gate,
                       const struct user *user, uint64_t key)
{
    struct model_offer none;
    const struct model_offer *offer = policy__offer(policy, false, key, &none);
    if (model_rules_repeat(rules_model(policy__rules(policy)), gate->active, offer)) return true;
    if (policy->bought_ms == 0) return false;
    int64_t bought_ms = bought_at_most(user, key);
    return bought_ms <= gate->time_ms && gate->time_ms - bought_ms >= policy->bought_ms;
}

int policy_categories(const struct policy *policy, uint64_t key, const struct str **categories)
{
    const struct catalogue_item *item =
        policy->env.catalogue ? catalogue_find(policy->env.catalogue, key) : NULL;
    *categories = item ? item->categories : NULL;
    return item ? item->offer.n_categories : 0;
}

struct str policy_item_id(const struct policy *policy, uint64_t key)
{
    const struct catalogue_item *item =
        policy->env.catalogue ? catalogue_find(policy->env.catalogue, key) : NULL;
    if (item) return item->id;
    const struct rules *rules = policy__rules(policy);
    for (int r = 0; r < rules_model(rules)->n; r++)
        if (rules_model(rules)->rules[r].kind == RULE_PIN &&
            rules_model(rules)->rules[r].pin == key)
            return rules_pin_id(rules, r);
    return (struct str){0};
}

int policy_depth(const struct policy *policy, int depth)
{
    bool is_moving = policy->moving != 0;
    return is_moving && depth < MODEL_RANKER_DEPTH ? MODEL_RANKER_DEPTH : depth;
}
