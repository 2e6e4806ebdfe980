#ifndef APP_SHOP_H
#define APP_SHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "schemas/schemas.h"

/* The simulated shop: events and catalogue records of a shop that does not exist, in time order,
 * without end.
 *
 * For demo, load, soak and tests. The same options give the same bytes, on every machine with IEEE
 * arithmetic and the same C library. No I/O, no clock.
 *
 * What is in it
 * - Products with titles, a category tree (department, category), brands, log-normal prices and
 *   stock. Some are launched while the shop runs, the popular ones sell out and come back: each
 *   change is an item record.
 * - Users with a taste (a vector that drifts from session to session), of very unequal activity;
 *   visitors who are anonymous at first and may log in; bots that read the catalogue fast and for
 *   long; a daily rhythm.
 * - Sessions with an intent (a category) and a hidden style. The next product follows from the
 *   current one and the style most of the time, else from what is popular in the category. So order
 *   carries information: who looks at the last product does much better than popularity, who infers
 *   the style from the session does better still.
 * - The intent changes within some sessions; shop_output and the truth functions tell, so that a
 *   test can ask whether lists follow.
 * - A funnel: impressions, clicks, views, carts, purchases of several products (complements are
 *   bought together), refunds hours later, searches, likes and dislikes.
 *
 * Files in reading order: shop.c (the public functions and the main loop), shop_session.c (what a
 * visitor does), shop_catalogue.c (products, tastes), shop_output.c (records and their text),
 * shop_names.c (words), shop_agenda.c (what happens next).
 *
 * Memory: about 100 bytes for a product and 200 for a user, whatever the number of events.
 * Thread: one owner. */

struct shop;

struct shop_options {
    uint64_t seed;
    int users;                /* 1 .. 10,000,000 */
    int items;                /* products, launched later ones included; 20 .. 5,000,000 */
    int64_t start_ms;         /* event time of the beginning; since 1970, UTC */
    double events_per_second; /* of simulated time, mean over a day; 0: users / 2000 */
    double bots;              /* share of the sessions, 0 .. 1 */
    double anonymous;         /* share of the sessions that begin without a user id, 0 .. 1 */
};

/* 2,000 users, 1,000 items, seed 1, 2025-01-06 08:00 UTC, 0.1 % bots, 30 % anonymous. */
struct shop_options shop_options_default(void);

enum shop_output_kind { SHOP_EVENT, SHOP_ITEM };

struct shop_output {
    enum shop_output_kind kind;
    int64_t time_ms;    /* never before the one of the output before it */
    struct event event; /* SHOP_EVENT */
    struct item
        item; /* SHOP_ITEM: a product is new, changed its stock, or is there at the beginning */
    /* the truth behind an event */
    int intent;          /* category that the session is after; -1 for bots */
    bool intent_changed; /* the first event of a new intent within a session */
    bool bot;
};

/* Options out of range are brought into it. Owns: the caller frees. */
struct shop *shop_new(const struct shop_options *options);
void shop_free(struct shop *shop);

/* The next event or item record. First come the records of all products on sale at the beginning.
 * Strings and arrays live until the next call. */
void shop_next(struct shop *shop, struct shop_output *output);

/* ---- what a test or a screen may know ---- */

int shop_category_count(const struct shop *shop);
/* "kitchen/kettles"; lives as long as the shop. */
struct str shop_category_name(const struct shop *shop, int category);
/* Category of a product; -1 for an id that is not of this shop. */
int shop_truth_item_category(const struct shop *shop, struct str item_id);
/* On sale: launched and in stock. */
bool shop_truth_item_on_sale(const struct shop *shop, struct str item_id);
/* Category that the user is after now; -1 when the user has no session or is not of this shop. */
int shop_truth_user_intent(const struct shop *shop, struct str user_id);

#endif
