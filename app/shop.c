/* The simulated shop: construction, the main loop over the agenda, and what tests may know. The
 * page is shop.h. */
#include "app/shop_internal.h"

#include "base/mem.h"

enum {
    EVENTS_PER_SESSION = 12, /* of a visitor, mean; measured by tests/app/shop_test.c */
    BOT_EVENTS = 350,        /* of a bot's session, mean */
    BOT_SESSIONS_MAX = 64,   /* at one time */
    GAP_MEAN_S = 20,         /* between two events of a visitor */
    HOT_HOURS = 6,           /* how long one product is talked about */
};

/* How busy each hour of the day is (UTC), mean 1. */
static const double hour_rate[24] = {0.40, 0.25, 0.15, 0.12, 0.15, 0.30, 0.55, 0.80,
                                     1.00, 1.15, 1.25, 1.30, 1.35, 1.25, 1.15, 1.15,
                                     1.20, 1.30, 1.50, 1.75, 1.85, 1.70, 1.38, 1.00};

/* ---- construction ---- */

struct shop_options shop_options_default(void)
{
    return (struct shop_options){.seed = 1,
                                 .users = 2000,
                                 .items = 1000,
                                 .start_ms = 1736150400000,
                                 .bots = 0.001,
                                 .anonymous = 0.3};
}

static double clamp(double v, double low, double high)
{
    return v > low ? (v < high ? v : high) : low;
}

/* Tastes from the normal distribution, in the space of the categories' vectors. */
static void build_users(struct shop *shop)
{
    shop->users = mem_zalloc((size_t)shop->options.users * sizeof(*shop->users));
    for (int i = 0; i < shop->options.users; i++) {
        struct shop_user *user = &shop->users[i];
        user->category = -1;
        user->session = -1;
        user->style = (uint8_t)rng_below(&shop->rng, SHOP_STYLES);
        for (int d = 0; d < SHOP_TASTE; d++)
            user->taste[d] = (float)rng_normal(&shop->rng);
    }
}

/* Free lists of sessions and of refunds. A user has one session at most. */
static void build_slots(struct shop *shop)
{
    shop->n_sessions = shop->options.users + BOT_SESSIONS_MAX;
    shop->sessions = mem_zalloc((size_t)shop->n_sessions * sizeof(*shop->sessions));
    for (int i = 0; i < shop->n_sessions; i++) {
        shop->sessions[i].next_free = i + 1 < shop->n_sessions ? i + 1 : -1;
    }
    shop->n_refunds = shop->options.users / 4 + 16;
    shop->refunds = mem_zalloc((size_t)shop->n_refunds * sizeof(*shop->refunds));
    for (int i = 0; i < shop->n_refunds; i++) {
        shop->refunds[i].next_free = i + 1 < shop->n_refunds ? i + 1 : -1;
    }
}

/* Rates that follow from the options. With many events for few users the visitors must hurry: at
 * most a third of the users are in the shop at a time. */
static void set_rates(struct shop *shop)
{
    struct shop_options *o = &shop->options;
    double rate = o->events_per_second;
    double per_session = (1 - o->bots) * EVENTS_PER_SESSION + o->bots * BOT_EVENTS;
    shop->session_rate = rate / per_session;
    double gap_s = o->users / (6.0 * rate);
    shop->gap_us = (gap_s < GAP_MEAN_S ? gap_s : GAP_MEAN_S) * 1e6;
    /* One event in fifteen sells a piece. */
    shop->demand = rate / 15 * 6 * 3600 / o->items;
}

struct shop *shop_new(const struct shop_options *options)
{
    struct shop *shop = mem_zalloc(sizeof(*shop));
    struct shop_options *o = &shop->options;
    *o = *options;
    o->users = (int)clamp(o->users, 1, 10000000);
    o->items = (int)clamp(o->items, 20, 5000000);
    if (!(o->events_per_second > 0)) o->events_per_second = o->users / 2000.0;
    o->events_per_second = clamp(o->events_per_second, 1e-3, 1e7);
    o->bots = clamp(o->bots, 0, 1);
    o->anonymous = clamp(o->anonymous, 0, 1);
    rng_init(&shop->rng, o->seed);
    set_rates(shop);
    shop__catalogue_build(shop);
    build_users(shop);
    build_slots(shop);
    shop__agenda_add(&shop->agenda, 0, TASK_ARRIVAL, 0);
    shop__agenda_add(&shop->agenda, 0, TASK_LAUNCH, 0);
    shop__agenda_add(&shop->agenda, (int64_t)HOT_HOURS * 3600 * 1000000, TASK_HOT, 0);
    return shop;
}

void shop_free(struct shop *shop)
{
    if (!shop) return;
    mem_free(shop->agenda.tasks);
    mem_free(shop->products);
    mem_free(shop->users);
    mem_free(shop->sessions);
    mem_free(shop->refunds);
    mem_free(shop);
}

/* ---- the main loop ---- */

/* Sessions come as a Poisson process whose rate follows the hour. */
static void next_arrival(struct shop *shop)
{
    int64_t seconds = shop->options.start_ms / 1000 + shop->now_us / 1000000;
    double rate = shop->session_rate * hour_rate[(seconds / 3600 % 24 + 24) % 24];
    double wait_us = 1e6 * rng_exponential(&shop->rng) / rate;
    shop__agenda_add(&shop->agenda, shop->now_us + 1 + (int64_t)clamp(wait_us, 0, 3600e6),
                     TASK_ARRIVAL, 0);
}

/* Launches the next product that is not on sale yet; two in a hundred of the catalogue come each
 * day. */
static void launch(struct shop *shop)
{
    uint64_t items = (uint64_t)shop->options.items;
    int32_t product = -1;
    while (product < 0 && shop->now_us > 0 && shop->next_launch < items) {
        product = (int32_t)(shop->next_launch++ * shop->id_inverse % items);
        if (shop->products[product].launched) product = -1;
    }
    if (product >= 0) {
        shop->products[product].launched = true;
        shop->categories[shop->products[product].category].hot = product;
        shop__tell_item(shop, product);
    }
    double wait_us = 86400e6 / (0.02 * (double)items + 1) * (0.5 + rng_unit(&shop->rng));
    if (shop->next_launch == items) return;
    shop__agenda_add(&shop->agenda, shop->now_us + (int64_t)wait_us, TASK_LAUNCH, 0);
}

/* Another product of each category is talked about: what trending lists are to find. */
static void change_hot(struct shop *shop)
{
    for (int c = 0; c < shop->n_categories; c++) {
        struct shop_category *category = &shop->categories[c];
        category->hot = category->first + (int32_t)rng_below(&shop->rng, (uint64_t)category->count);
    }
    shop__agenda_add(&shop->agenda, shop->now_us + (int64_t)HOT_HOURS * 3600 * 1000000, TASK_HOT,
                     0);
}

/* A product that sold out is back; its record tells. */
static void restock(struct shop *shop, int32_t product)
{
    shop->products[product].stock = shop__new_stock(shop, product);
    shop__tell_item(shop, product);
}

/* True when the task made an event. */
static bool do_task(struct shop *shop, const struct shop_task *task, struct shop_output *output)
{
    switch (task->kind) {
    case TASK_ARRIVAL:
        shop__session_start(shop);
        next_arrival(shop);
        return false;
    case TASK_SESSION:
        return shop__session_step(shop, task->index, output);
    case TASK_REFUND:
        shop__refund_make(shop, task->index, output);
        return true;
    case TASK_RESTOCK:
        restock(shop, task->index);
        return false;
    case TASK_LAUNCH:
        launch(shop);
        return false;
    case TASK_HOT:
        change_hot(shop);
        return false;
    }
    return false;
}

void shop_next(struct shop *shop, struct shop_output *output)
{
    shop->text_len = 0;
    while (shop->first_item < shop->options.items && !shop->products[shop->first_item].launched)
        shop->first_item++;
    if (shop->first_item < shop->options.items) {
        shop__item_output(shop, output, shop->first_item++);
        return;
    }
    while (shop->n_pending == 0) {
        struct shop_task task = shop__agenda_take(&shop->agenda);
        shop->now_us = task.time_us;
        if (do_task(shop, &task, output)) return;
    }
    /* The record of a product that sold out comes right behind the purchase. */
    shop__item_output(shop, output, shop->pending[--shop->n_pending]);
}

/* ---- the truth ---- */

int shop_category_count(const struct shop *shop)
{
    return shop->n_categories;
}

struct str shop_category_name(const struct shop *shop, int category)
{
    return str_of(shop->categories[category].name);
}

int shop_truth_item_category(const struct shop *shop, struct str item_id)
{
    int32_t product = shop__product_of(shop, item_id);
    return product < 0 ? -1 : shop->products[product].category;
}

bool shop_truth_item_on_sale(const struct shop *shop, struct str item_id)
{
    int32_t product = shop__product_of(shop, item_id);
    return product >= 0 && shop->products[product].launched && shop->products[product].stock > 0;
}

int shop_truth_user_intent(const struct shop *shop, struct str user_id)
{
    uint64_t user = 0;
    if (user_id.len < 2 || user_id.len > 9 || user_id.ptr[0] != 'u') return -1;
    for (size_t i = 1; i < user_id.len; i++) {
        char c = user_id.ptr[i];
        if (c < '0' || c > '9') return -1;
        user = user * 10 + (uint64_t)(c - '0');
    }
    if (user >= (uint64_t)shop->options.users) return -1;
    int32_t session = shop->users[user].session;
    return session < 0 ? -1 : shop->sessions[session].category;
}
