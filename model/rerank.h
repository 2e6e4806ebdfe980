#ifndef MODEL_RERANK_H
#define MODEL_RERANK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* A chapter of model/model.h: the last word on a list. What a shop offers now, its rules, and the order in which the
 * candidates of the blend stand at the end.
 *
 * A hard rule (exclude, include, most; an offer that is closed) holds for every list and every item in it, pinned and new ones
 * too; a list rather gets shorter. The others (boost, damping, diversity, explore) move items.
 *
 * Words: offer = what the catalogue says of an item. open = may be sold at a time. active = of these rules, bit r of a
 * 64-bit mask says that rule r holds for this event; who calls decides (app/rules.h). Texts are compared by hash: names by
 * schemas_id_hash, items by schemas_item_key.
 *
 * Thread: all functions any; nothing is kept. */

/* ---- offers ---- */

/* An item that the catalogue does not know is an offer with its key alone: model_offer_none. */
struct model_offer {
    uint64_t key;
    uint64_t brand;             /* 0: none */
    const uint64_t *categories; /* (n_categories) */
    int n_categories;
    const uint64_t *attributes; /* (n_attributes) model_attribute_hash of name and value */
    int n_attributes;
    double price;              /* NaN: not known */
    int64_t stock;             /* pieces; -1: not known, which is open */
    int64_t from_ms, until_ms; /* open from (inclusive) and until (exclusive); 0: no such bound */
    bool hidden;
};

static inline struct model_offer model_offer_none(uint64_t key)
{
    return (struct model_offer){.key = key, .price = (double)NAN, .stock = -1};
}

/* Neither hidden nor sold out, and time_ms within its bounds. */
bool model_offer_is_open(const struct model_offer *offer, int64_t time_ms);
/* name and value: schemas_id_hash of the texts. */
uint64_t model_attribute_hash(uint64_t name, uint64_t value);

/* ---- rules ---- */

enum model_test_field { TEST_ITEM, TEST_CATEGORY, TEST_BRAND, TEST_ATTRIBUTE, TEST_PRICE };

/* Holds when the field has one of the values, or the price lies in min..max. What is not known holds nowhere. */
struct model_test {
    enum model_test_field field;
    const uint64_t *values; /* (n) of TEST_ATTRIBUTE: model_attribute_hash */
    int n;
    double min, max; /* of TEST_PRICE, inclusive; may be infinite */
};

/* Holds when every test holds; so one without tests holds for all items. */
struct model_match {
    const struct model_test *tests; /* (n) */
    int n;
};

bool model_match_holds(const struct model_match *match, const struct model_offer *offer);

enum model_rule_kind {
    RULE_EXCLUDE,   /* what matches is in no list */
    RULE_INCLUDE,   /* what does not match is in no list */
    RULE_MOST,      /* at most `most` items that match, or of each category or brand */
    RULE_REPEAT,    /* bought items that match may be listed again */
    RULE_BOOST,     /* what matches moves: relevance * amount */
    RULE_PIN,       /* the item stands at `place` */
    RULE_DIVERSITY, /* amount 0..1: the weight of being unlike the items before */
    RULE_DAMPING,   /* amount 0..1: relevance * (1 - amount * popularity) */
    RULE_EXPLORE,   /* amount 0..1: share of the list for new items */
    RULE_KINDS
};

enum model_most_of { MOST_OF_MATCH, MOST_OF_CATEGORY, MOST_OF_BRAND };

struct model_rule {
    enum model_rule_kind kind;
    struct model_match match;
    double amount;
    uint64_t pin; /* item key */
    int place;    /* from 1 */
    int most;
    enum model_most_of of;
};

enum { MODEL_RULES_MAX = 64 }; /* bits of a mask */

struct model_rules {
    const struct model_rule *rules; /* (n) */
    int n;                          /* at most MODEL_RULES_MAX */
};

/* The rules of a kind as a mask. */
uint64_t model_rules_of(const struct model_rules *rules, enum model_rule_kind kind);
/* By the active exclude and include rules. */
bool model_rules_allow(const struct model_rules *rules, uint64_t active,
                       const struct model_offer *offer);
/* An active repeat rule matches. */
bool model_rules_repeat(const struct model_rules *rules, uint64_t active,
                        const struct model_offer *offer);
/* The amount of the last active rule of this kind; 0 when there is none. */
double model_rules_amount(const struct model_rules *rules, uint64_t active,
                          enum model_rule_kind kind);

/* ---- the list ---- */

struct model_listing {
    const struct model_offer *offer;
    const float *vector; /* (D) of the item, not zeros; NULL: not known */
    float popularity;    /* 0..1, 1 the most popular */
    float score;         /* of the blend; not looked at */
};

enum { MODEL_RERANK_MAX = 512, MODEL_RERANK_LIST_MAX = 64 };

/* What there is to choose from. Items of pins and fresh may stand among found too; each is listed once. */
struct model_rerank {
    const struct model_rules *rules;
    uint64_t active;
    int64_t time_ms; /* of the event: what is closed then is not listed */
    const struct model_listing
        *found; /* (n_found) best first; at most MODEL_RERANK_MAX are looked at */
    int n_found;
    const struct model_listing
        *pins;         /* (n_pins) of the active pin rules, by rising rule; absent: place 0 */
    const int *places; /* (n_pins) from 1; a taken one: the next that is free */
    int n_pins;
    const struct model_listing *fresh; /* (n_fresh) new items, newest first */
    int n_fresh;
    int D;
    int K;         /* length of the list, at most MODEL_RERANK_LIST_MAX */
    uint64_t seed; /* of this list: what explore draws by */
};

enum model_origin { ORIGIN_FOUND, ORIGIN_PIN, ORIGIN_FRESH };

struct model_reranked {
    enum model_origin origin;
    int index;   /* into that array */
    float score; /* falling along the list, 0..; no unit */
};

/* The list: pins at their places, then new items, then greedily the best of found:
 *
 *   relevance  2^(-2 (r - 1) / K) * boosts * (1 - damping * popularity)      r its place in found, from 1
 *   value      (1 - d) relevance - d * likeness        likeness: to the nearest item listed so far; d diversity
 *                                                      (Carbonell, Goldstein 1998: maximal marginal relevance)
 *   likeness   cosine of the vectors, not below 0; where one is not known: share of common categories (Jaccard)
 *
 * So a boost of 2 moves an item up by half a list, one of 4 by a whole one, 0.5 down by half of one. New items take
 * floor(explore K + u) places from the second quarter on, u in [0,1) and the places drawn by seed; of these, as drawn, half are the newest
 * one that may be listed, the rest any. Returns how many are listed: K, or fewer when no more are allowed. No heap call. */
int model_rerank(const struct model_rerank *in, struct model_reranked *out);

#endif
