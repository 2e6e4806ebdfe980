/* What a visitor of the simulated shop does: one session, one event at a time.
 *
 *   opening (search, list or popular product)  ->  product, product, ...  ->  cart  ->  order, away
 *        ^                                             |
 *        +------------ the intent changes -------------+
 *
 * The shares below are of the order that shops report: one click or view in ten goes on to a cart,
 * half of the carts are bought. A bot only reads. */
#include "app/shop_internal.h"

#include <math.h>

enum {
    STEPS_MEAN = 9, /* of a visitor, beyond the first two */
    BOT_STEPS_MEAN = 300,
    LOGIN_WITHIN = 6, /* events until an anonymous visitor who logs in does so */
    USER_TRIES = 4,   /* to find a user who has no session */
};

/* Shares of the actions of a visitor who looks at a product; what is left goes on to the next
 * product. */
static const double share_cart = 0.09;
static const double share_remove = 0.01;
static const double share_like = 0.015;
static const double share_dislike = 0.006;
static const double share_new_intent = 0.04;
static const double share_list = 0.05;
static const double share_click = 0.12;  /* of the moves: by way of a click in a list */
static const double share_buys = 0.6;    /* of the carts that are there at the end */
static const double share_refund = 0.06; /* of the purchases: one product comes back */

/* How a visitor goes on: the k-th successor, up to these bounds of a uniform number. */
static const double successor_bounds[SHOP_SUCCESSORS] = {0.40, 0.58, 0.70, 0.76};
static const double bound_back = 0.80; /* the product before; above it: popular in the category */

/* ---- slots ---- */

/* -1 when as many sessions run as the tables hold. */
static int32_t session_slot(struct shop *shop)
{
    int32_t slot = shop->free_session;
    if (slot >= 0) shop->free_session = shop->sessions[slot].next_free;
    return slot;
}

/* The user is free again and remembers what the session was after. */
static void session_end(struct shop *shop, int32_t slot)
{
    struct shop_session *session = &shop->sessions[slot];
    if (session->user >= 0) {
        shop->users[session->user].session = -1;
        shop->users[session->user].category = session->category;
    }
    session->next_free = shop->free_session;
    shop->free_session = slot;
}

/* ---- the start ---- */

/* Users are of unequal activity: density falls with the root of the rank. -1: those tried are all
 * busy. */
static int32_t pick_user(struct shop *shop)
{
    for (int i = 0; i < USER_TRIES; i++) {
        double u = rng_unit(&shop->rng);
        int32_t user = (int32_t)(u * u * shop->options.users);
        if (shop->users[user].session < 0) return user;
    }
    return -1;
}

/* Tastes wander: a step of an autoregressive walk of order 1, variance about 1. */
static void drift(struct shop *shop, struct shop_user *user)
{
    for (int d = 0; d < SHOP_TASTE; d++) {
        user->taste[d] = 0.98f * user->taste[d] + 0.2f * (float)rng_normal(&shop->rng);
    }
}

/* Intent, style, length and login of a new session. A third come back to the category of the last
 * time; the style is mostly the user's own. */
static void start_visitor(struct shop *shop, struct shop_session *session, int32_t index)
{
    struct shop_user *user = &shop->users[index];
    drift(shop, user);
    session->user = index;
    bool returns = user->category >= 0 && rng_unit(&shop->rng) < 0.3;
    session->category = returns ? user->category : shop__pick_category(shop, user);
    session->style =
        rng_unit(&shop->rng) < 0.6 ? user->style : (uint8_t)rng_below(&shop->rng, SHOP_STYLES);
    session->steps_left = 2 + (int32_t)(STEPS_MEAN * rng_exponential(&shop->rng));
    session->logged_in = rng_unit(&shop->rng) >= shop->options.anonymous;
    if (session->logged_in) return;
    if (rng_unit(&shop->rng) < 0.4)
        session->login_in = 1 + (int32_t)rng_below(&shop->rng, LOGIN_WITHIN);
    uint64_t who = (uint64_t)index << 32 | user->cookies++;
    session->cookie = shop__mix(shop->options.seed ^ 0xC00C1Eu, who);
}

void shop__session_start(struct shop *shop)
{
    bool bot = rng_unit(&shop->rng) < shop->options.bots;
    int32_t user = bot ? -1 : pick_user(shop);
    if (!bot && user < 0) return;
    int32_t slot = session_slot(shop);
    if (slot < 0) return;
    struct shop_session *session = &shop->sessions[slot];
    *session = (struct shop_session){.number = shop->sessions_made++,
                                     .user = user,
                                     .bot = bot,
                                     .current = -1,
                                     .before = -1,
                                     .clicked = -1,
                                     .login_in = -1};
    if (bot) {
        session->cookie = shop__mix(shop->options.seed ^ 0xB07u, session->number);
        session->steps_left = 50 + (int32_t)(BOT_STEPS_MEAN * rng_exponential(&shop->rng));
        session->current = (int32_t)rng_below(&shop->rng, (uint64_t)shop->options.items);
    } else {
        start_visitor(shop, session, user);
        shop->users[user].session = slot;
    }
    shop__agenda_add(&shop->agenda, shop->now_us, TASK_SESSION, slot);
}

/* ---- events ---- */

/* An event of this session, with who and where; items are added by the caller. */
static void begin(struct shop *shop, struct shop_session *session, struct shop_output *output,
                  enum event_type type)
{
    shop__event_begin(shop, output, type);
    struct event *event = &output->event;
    event->session_id = shop__text(shop, "s", session->number);
    if (session->cookie)
        event->anonymous_id = shop__text_hex(shop, session->bot ? "b" : "a", session->cookie);
    if (session->logged_in) event->user_id = shop__text(shop, "u", (uint64_t)session->user);
    shop->context[0] = (struct attribute){STR("device"), session->bot          ? STR("bot")
                                                         : session->number % 3 ? STR("mobile")
                                                                               : STR("desktop")};
    event->context = shop->context;
    event->n_context = 1;
    output->bot = session->bot;
    output->intent = session->bot ? -1 : session->category;
    output->intent_changed = session->intent_changed;
    session->intent_changed = false;
}

static void one_item(struct shop *shop, struct shop_session *session, struct shop_output *output,
                     enum event_type type, int32_t product)
{
    begin(shop, session, output, type);
    shop__event_add_item(shop, output, product, 1, -1);
}

/* A view, or first the click in a list that leads to it. */
static void look_at(struct shop *shop, struct shop_session *session, struct shop_output *output,
                    int32_t product)
{
    if (!session->bot && session->clicked != product && rng_unit(&shop->rng) < share_click) {
        session->clicked = product;
        one_item(shop, session, output, EVENT_CLICK, product);
        return;
    }
    session->clicked = -1;
    session->before = session->current;
    session->current = product;
    one_item(shop, session, output, EVENT_VIEW, product);
}

static bool in_list(const struct shop *shop, const struct shop_output *output, int32_t product)
{
    for (size_t i = 0; i < output->event.n_items; i++) {
        if (shop__product_of(shop, shop->items[i].item_id) == product) return true;
    }
    return false;
}

/* What a category page shows: popular products, each once. */
static void make_list(struct shop *shop, struct shop_session *session, struct shop_output *output)
{
    begin(shop, session, output, EVENT_IMPRESSION);
    for (int i = 0; i < SHOP_LIST_MAX; i++) {
        int32_t product = shop__pick_popular(shop, session->category);
        if (product >= 0 && !in_list(shop, output, product))
            shop__event_add_item(shop, output, product, 1, (int)output->event.n_items);
    }
}

/* "Kettle" or "Compact Kettle". */
static void make_search(struct shop *shop, struct shop_session *session, struct shop_output *output)
{
    const struct shop_category *category = &shop->categories[session->category];
    begin(shop, session, output, EVENT_SEARCH);
    struct str noun = str_of(shop__noun(category->department, category->noun));
    struct str adjective = shop__adjective(rng_u64(&shop->rng));
    output->event.query =
        rng_unit(&shop->rng) < 0.5 ? noun : shop__text_join(shop, adjective, noun);
}

/* Takes pieces off the shelf; a product that is gone is told and comes back after half an hour to
 * three hours. */
static void sell(struct shop *shop, int32_t product, int32_t quantity)
{
    struct shop_product *p = &shop->products[product];
    p->stock -= quantity;
    if (p->stock > 0) return;
    p->stock = 0;
    shop__tell_item(shop, product);
    double wait_us = (0.5 + 2.5 * rng_unit(&shop->rng)) * 3600e6;
    shop__agenda_add(&shop->agenda, shop->now_us + (int64_t)wait_us, TASK_RESTOCK, product);
}

/* The first product of the order comes back after ten minutes to some hours. */
static void plan_refund(struct shop *shop, const struct shop_session *session,
                        const struct event_item *item, int32_t product)
{
    int32_t slot = shop->free_refund;
    if (slot < 0) return;
    struct shop_refund *refund = &shop->refunds[slot];
    shop->free_refund = refund->next_free;
    *refund = (struct shop_refund){.order = shop->orders_made,
                                   .user = session->user,
                                   .product = product,
                                   .quantity = (int32_t)item->quantity,
                                   .price = item->price};
    double wait_us = 600e6 + 3 * 3600e6 * rng_exponential(&shop->rng);
    shop__agenda_add(&shop->agenda, shop->now_us + (int64_t)wait_us, TASK_REFUND, slot);
}

/* Buys what is in the cart and still there. False when that is nothing. */
static bool buy(struct shop *shop, struct shop_session *session, struct shop_output *output)
{
    int32_t bought[SHOP_CART_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < session->n_cart; i++) {
        if (shop->products[session->cart[i]].stock > 0) bought[n++] = session->cart[i];
    }
    session->n_cart = 0;
    if (n == 0) return false;
    session->logged_in = true; /* nobody buys without an account */
    begin(shop, session, output, EVENT_PURCHASE);
    struct event *event = &output->event;
    for (int32_t i = 0; i < n; i++) {
        int32_t stock = shop->products[bought[i]].stock;
        int32_t quantity = rng_unit(&shop->rng) < 0.85 ? 1 : 2 + (int32_t)rng_below(&shop->rng, 2);
        quantity = quantity < stock ? quantity : stock;
        shop__event_add_item(shop, output, bought[i], (double)quantity, -1);
        event->value += (double)quantity * event->items[i].price;
        sell(shop, bought[i], quantity);
    }
    event->order_id = shop__text(shop, "o", ++shop->orders_made);
    event->has_value = true;
    event->currency = STR("EUR");
    if (rng_unit(&shop->rng) < share_refund)
        plan_refund(shop, session, &event->items[0], bought[0]);
    return true;
}

void shop__refund_make(struct shop *shop, int32_t slot, struct shop_output *output)
{
    struct shop_refund *refund = &shop->refunds[slot];
    shop__event_begin(shop, output, EVENT_REFUND);
    struct event *event = &output->event;
    event->user_id = shop__text(shop, "u", (uint64_t)refund->user);
    event->order_id = shop__text(shop, "o", refund->order);
    shop__event_add_item(shop, output, refund->product, (double)refund->quantity, -1);
    event->items[0].price = refund->price;
    event->value = (double)refund->quantity * refund->price;
    event->has_value = true;
    event->currency = STR("EUR");
    refund->next_free = shop->free_refund;
    shop->free_refund = slot;
}

/* ---- what comes next ---- */

static bool in_cart(const struct shop_session *session, int32_t product)
{
    for (int32_t i = 0; i < session->n_cart; i++) {
        if (session->cart[i] == product) return true;
    }
    return false;
}

/* The step of the hidden chain: complement after a cart, successor of the current product in this
 * style, back to the one before, or popular in the category. -1 when nothing can be shown. */
static int32_t next_product(struct shop *shop, struct shop_session *session)
{
    const struct shop_product *current = &shop->products[session->current];
    if (session->complement_next) {
        session->complement_next = false;
        if (rng_unit(&shop->rng) < 0.5 && shop__shows(shop, current->complement))
            return current->complement;
    }
    double u = rng_unit(&shop->rng);
    for (int k = 0; k < SHOP_SUCCESSORS; k++) {
        if (u >= successor_bounds[k]) continue;
        int32_t next = current->successor[session->style][k];
        if (next != session->current && shop__shows(shop, next)) return next;
        break;
    }
    if (u < bound_back && session->before >= 0) return session->before;
    return shop__pick_popular(shop, session->category);
}

/* Another category: what goes with the old one, or a fresh choice by taste. */
static void change_intent(struct shop *shop, struct shop_session *session)
{
    int32_t old = session->category;
    bool near = rng_unit(&shop->rng) < 0.3;
    session->category = near ? shop->categories[old].complement
                             : shop__pick_category(shop, &shop->users[session->user]);
    session->intent_changed = session->category != old;
    session->current = -1;
    session->before = -1;
    session->opened = false;
}

/* The first events of an intent. False when nothing of the category can be shown. */
static bool open_intent(struct shop *shop, struct shop_session *session, struct shop_output *output)
{
    double u = rng_unit(&shop->rng);
    if (!session->opened && u < 0.45) {
        session->opened = true;
        if (u < 0.2) {
            make_search(shop, session, output);
        } else {
            make_list(shop, session, output);
        }
        return true;
    }
    int32_t product = shop__pick_popular(shop, session->category);
    if (product < 0) return false;
    look_at(shop, session, output, product);
    return true;
}

/* Cart, like, dislike. False: the visitor goes on to another product. */
static bool act_on_product(struct shop *shop, struct shop_session *session,
                           struct shop_output *output, double u)
{
    int32_t product = session->current;
    double bound = share_cart;
    if (u < bound) {
        if (session->n_cart == SHOP_CART_MAX || shop->products[product].stock == 0 ||
            in_cart(session, product))
            return false;
        session->cart[session->n_cart++] = product;
        session->complement_next = true;
        one_item(shop, session, output, EVENT_ADD_TO_CART, product);
        return true;
    }
    if (u < (bound += share_remove)) {
        if (session->n_cart == 0) return false;
        one_item(shop, session, output, EVENT_REMOVE_FROM_CART, session->cart[--session->n_cart]);
        return true;
    }
    if (u < (bound += share_like)) {
        one_item(shop, session, output, EVENT_LIKE, product);
        return true;
    }
    if (u < (bound += share_dislike)) {
        one_item(shop, session, output, EVENT_DISLIKE, product);
        return true;
    }
    if (u < bound + share_list) {
        make_list(shop, session, output);
        return true;
    }
    return false;
}

/* A visitor's next event; false when there is none. */
static bool visitor_step(struct shop *shop, struct shop_session *session,
                         struct shop_output *output)
{
    if (session->login_in > 0 && --session->login_in == 0) session->logged_in = true;
    if (session->clicked >= 0) {
        look_at(shop, session, output, session->clicked);
        return true;
    }
    if (session->steps_left-- <= 0) {
        return session->n_cart > 0 && rng_unit(&shop->rng) < share_buys &&
               buy(shop, session, output);
    }
    if (session->current >= 0 && rng_unit(&shop->rng) < share_new_intent)
        change_intent(shop, session);
    if (session->current < 0) return open_intent(shop, session, output);
    if (act_on_product(shop, session, output, rng_unit(&shop->rng))) return true;
    int32_t next = next_product(shop, session);
    if (next < 0) return false;
    look_at(shop, session, output, next);
    return true;
}

/* A bot reads the catalogue in order. */
static bool bot_step(struct shop *shop, struct shop_session *session, struct shop_output *output)
{
    if (session->steps_left-- <= 0) return false;
    int32_t product = session->current;
    do {
        product = (product + 1) % shop->options.items;
    } while (!shop->products[product].launched);
    look_at(shop, session, output, product);
    return true;
}

bool shop__session_step(struct shop *shop, int32_t slot, struct shop_output *output)
{
    struct shop_session *session = &shop->sessions[slot];
    bool made =
        session->bot ? bot_step(shop, session, output) : visitor_step(shop, session, output);
    /* A purchase is the last thing; so is a step that shows nothing. */
    if (!made || session->steps_left < 0) {
        session_end(shop, slot);
        return made;
    }
    double gap_us = session->bot ? 0.05 * shop->gap_us : shop->gap_us;
    int64_t wait_us = 1000 + (int64_t)(gap_us * rng_exponential(&shop->rng));
    shop__agenda_add(&shop->agenda, shop->now_us + wait_us, TASK_SESSION, slot);
    return made;
}
