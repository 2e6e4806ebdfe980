/* Products, categories and tastes of the simulated shop.
 *
 * Everything that is fixed about a product follows from the seed and its number by hashing, so that
 * the table is small and is built in one pass. A product's place in its category is its popularity:
 * place r of n is drawn in proportion to 1 / (r + 1), by r = (n + 1)^u - 1 with u uniform (the
 * inverse of Zipf's law with exponent 1). */
#include "app/shop_internal.h"

#include <math.h>
#include <stdio.h>
#include <ctype.h>

#include "base/mem.h"

enum {
    ITEMS_PER_CATEGORY = 25, /* fewer categories rather than emptier ones */
    CATEGORIES_MIN = 6,
    PICK_TRIES = 8,
    INTENT_CANDIDATES = 5,
};

uint64_t shop__mix(uint64_t a, uint64_t b)
{
    uint64_t x = a + 0x9E3779B97F4A7C15u * (b + 1);
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* The top 53 bits as a number in [0, 1). */
static double mix_unit(uint64_t mix)
{
    return (double)(mix >> 11) * 0x1p-53;
}

/* Zipf place among n from a uniform u. */
static int32_t zipf_place(double u, int32_t n)
{
    int32_t place = (int32_t)(exp(u * log((double)n + 1)) - 1);
    return place < n ? place : n - 1;
}

/* ---- ids: a one-to-one map of 0 .. items-1, so that neighbours in the table are no neighbours in
 * the ids ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The inverse of a modulo n by the extended Euclid; gcd(a, n) = 1. */
static uint64_t inverse(uint64_t a, uint64_t n)
{
    int64_t t = 0, next_t = 1;
    int64_t r = (int64_t)n, next_r = (int64_t)(a % n);
    while (next_r) {
        int64_t quotient = r / next_r;
        int64_t keep = t - quotient * next_t;
        t = next_t;
        next_t = keep;
        keep = r - quotient * next_r;
        r = next_r;
        next_r = keep;
    }
    return (uint64_t)(t < 0 ? t + (int64_t)n : t);
}

uint64_t shop__product_number(const struct shop *shop, int32_t product)
{
    return (uint64_t)product * shop->id_factor % (uint64_t)shop->options.items;
}

int32_t shop__product_of(const struct shop *shop, struct str item_id)
{
    uint64_t items = (uint64_t)shop->options.items;
    uint64_t number = 0;
    if (item_id.len < 2 || item_id.len > 10 || item_id.ptr[0] != 'p') return -1;
    for (size_t i = 1; i < item_id.len; i++) {
        if (!isdigit((unsigned char)item_id.ptr[i])) return -1;
        number = number * 10 + (uint64_t)(item_id.ptr[i] - '0');
    }
    return number < items ? (int32_t)(number * shop->id_inverse % items) : -1;
}

/* ---- building ---- */

/* Categories go round the departments, so that a small shop has several of them. */
static void build_category(struct shop *shop, int index, int32_t first, int32_t count)
{
    struct shop_category *category = &shop->categories[index];
    int departments = shop__department_count();
    category->first = first;
    category->count = count;
    category->hot =
        first + (int32_t)(shop__mix(shop->options.seed, (uint64_t)index) % (uint64_t)count);
    category->department = index % departments;
    category->noun = index / departments;
    /* What goes together is another noun of the same department, or the next category of a small shop. */
    int together = (index + departments) % shop->n_categories;
    category->complement = together == index ? (index + 1) % shop->n_categories : together;
    category->price =
        shop__department_price(category->department) * exp(0.4 * rng_normal(&shop->rng));
    for (int d = 0; d < SHOP_TASTE; d++)
        category->taste[d] = (float)rng_normal(&shop->rng);
    (void)snprintf(category->name, sizeof(category->name), "%s/%s",
                   shop__department(category->department),
                   shop__noun(category->department, category->noun));
    for (char *c = category->name; *c; c++)
        *c = *c == ' ' ? '-' : (char)tolower((unsigned char)*c);
}

/* Price, complement and successors. Every category has one product on sale from the beginning. */
static void build_product(struct shop *shop, int index, int32_t product)
{
    struct shop_product *p = &shop->products[product];
    const struct shop_category *category = &shop->categories[index];
    const struct shop_category *together = &shop->categories[category->complement];
    uint64_t mix = shop__mix(shop->options.seed ^ 0x5109u, (uint64_t)product);
    p->category = index;
    p->cents = (int32_t)(category->price * exp(0.5 * rng_normal(&shop->rng))) * 100 + 99;
    p->launched = product == category->first || mix_unit(mix) > 0.08;
    p->complement = together->first + zipf_place(mix_unit(shop__mix(mix, 1)), together->count);
    for (int style = 0; style < SHOP_STYLES; style++) {
        for (int k = 0; k < SHOP_SUCCESSORS; k++) {
            double u = mix_unit(shop__mix(mix, (uint64_t)(2 + style * SHOP_SUCCESSORS + k)));
            /* Half uniform, half popular: rare products are followed up, too. */
            int32_t place = k % 2 ? zipf_place(u, category->count) : (int32_t)(u * category->count);
            p->successor[style][k] = category->first + place;
        }
    }
}

void shop__catalogue_build(struct shop *shop)
{
    int32_t items = shop->options.items;
    int n = items / ITEMS_PER_CATEGORY;
    int most = shop__department_count() * shop__noun_count();
    shop->n_categories = n < CATEGORIES_MIN ? CATEGORIES_MIN : n > most ? most : n;
    shop->products = mem_zalloc((size_t)items * sizeof(*shop->products));
    shop->id_factor = (uint64_t)items * 5 / 8 + 1;
    while (gcd(shop->id_factor, (uint64_t)items) != 1)
        shop->id_factor++;
    shop->id_inverse = inverse(shop->id_factor, (uint64_t)items);
    for (int c = 0; c < shop->n_categories; c++) {
        int32_t first = (int32_t)((int64_t)items * c / shop->n_categories);
        int32_t end = (int32_t)((int64_t)items * (c + 1) / shop->n_categories);
        build_category(shop, c, first, end - first);
    }
    for (int c = 0; c < shop->n_categories; c++) {
        const struct shop_category *category = &shop->categories[c];
        for (int32_t i = 0; i < category->count; i++)
            build_product(shop, c, category->first + i);
    }
    for (int32_t i = 0; i < items; i++)
        shop->products[i].stock = shop__new_stock(shop, i);
}

/* ---- choosing ---- */

double shop__popularity(const struct shop *shop, int32_t product)
{
    const struct shop_category *category = &shop->categories[shop->products[product].category];
    double place = (double)(product - category->first);
    return (double)category->count / ((place + 1) * log((double)category->count + 2));
}

int32_t shop__new_stock(struct shop *shop, int32_t product)
{
    /* Lasts for 3 to 27 hours of its usual demand. */
    double pieces =
        shop->demand * shop__popularity(shop, product) * (0.5 + 4 * rng_unit(&shop->rng));
    return 3 + (int32_t)(pieces < 1e6 ? pieces : 1e6);
}

bool shop__shows(struct shop *shop, int32_t product)
{
    const struct shop_product *p = &shop->products[product];
    if (!p->launched) return false;
    return p->stock > 0 || rng_unit(&shop->rng) < 0.25;
}

int32_t shop__pick_popular(struct shop *shop, int32_t category)
{
    const struct shop_category *c = &shop->categories[category];
    for (int i = 0; i < PICK_TRIES; i++) {
        bool hot = rng_unit(&shop->rng) < 0.1;
        int32_t product = hot ? c->hot : c->first + zipf_place(rng_unit(&shop->rng), c->count);
        if (shop__shows(shop, product)) return product;
    }
    return -1;
}

/* Of a few categories that the shop shows (popular ones more often), the one that the user likes
 * best, with some luck: the Gumbel trick, so that the choice is a softmax over the candidates. */
int32_t shop__pick_category(struct shop *shop, const struct shop_user *user)
{
    int32_t best = 0;
    double best_score = -HUGE_VAL;
    for (int i = 0; i < INTENT_CANDIDATES; i++) {
        double u = rng_unit(&shop->rng);
        int32_t candidate = (int32_t)(pow(u, 1.5) * shop->n_categories);
        double score = -log(-log(rng_unit(&shop->rng) + 1e-12));
        for (int d = 0; d < SHOP_TASTE; d++) {
            score += (double)(user->taste[d] * shop->categories[candidate].taste[d]);
        }
        if (score > best_score) {
            best_score = score;
            best = candidate;
        }
    }
    return best;
}
