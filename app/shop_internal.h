#ifndef APP_SHOP_INTERNAL_H
#define APP_SHOP_INTERNAL_H

#include "app/shop.h"
#include "base/buf.h"
#include "base/rng.h"

/* What the files of the simulated shop share. The page is shop.h. */

enum {
    SHOP_CATEGORIES_MAX = 120, /* departments x nouns of shop_names.c */
    SHOP_STYLES = 3,           /* hidden purposes of a session */
    SHOP_SUCCESSORS = 4,       /* products that follow a product, for each style */
    SHOP_TASTE = 6,            /* dimension of taste */
    SHOP_CART_MAX = 8,
    SHOP_LIST_MAX = 8,     /* products in one impression */
    SHOP_TEXT_MAX = 1024,  /* bytes of text of one output */
    SHOP_PENDING_MAX = 64, /* item records that one action may cause */
};

struct shop_product {
    int32_t category;
    int32_t complement; /* product bought together with it */
    int32_t successor[SHOP_STYLES][SHOP_SUCCESSORS];
    int32_t stock; /* pieces */
    int32_t cents; /* price */
    bool launched;
};

/* Products of a category stand side by side, the most popular first. */
struct shop_category {
    int32_t first, count;
    int32_t hot;        /* product that is talked about now */
    int32_t complement; /* category bought together with it */
    float taste[SHOP_TASTE];
    double price;         /* median */
    int department, noun; /* of shop_names.c */
    char name[48];        /* "kitchen/kettle" */
};

struct shop_user {
    float taste[SHOP_TASTE];
    int32_t category; /* of the last session; -1 none */
    int32_t session;  /* slot of the running session; -1 none */
    uint32_t cookies; /* anonymous ids used so far */
    uint8_t style;
};

struct shop_session {
    uint64_t number;
    int32_t user; /* -1 for a bot */
    int32_t category;
    int32_t current; /* product looked at last; -1 none in this intent */
    int32_t clicked; /* product whose page comes next; -1 none */
    int32_t before;  /* product looked at before the current one; -1 none */
    int32_t cart[SHOP_CART_MAX];
    int32_t n_cart;
    int32_t steps_left;
    int32_t login_in; /* events until the visitor logs in; -1 never */
    uint64_t cookie;  /* anonymous id; 0 none */
    uint8_t style;
    bool bot;
    bool logged_in;
    bool opened;          /* search or list of this intent is done */
    bool complement_next; /* something went into the cart: look at what goes with it */
    bool intent_changed;  /* not told yet */
    int32_t next_free;    /* in the free list */
};

/* A refund that will come. */
struct shop_refund {
    uint64_t order;
    int32_t user;
    int32_t product;
    int32_t quantity;
    double price;
    int32_t next_free;
};

enum shop_task_kind {
    TASK_ARRIVAL,
    TASK_SESSION,
    TASK_REFUND,
    TASK_RESTOCK,
    TASK_LAUNCH,
    TASK_HOT
};

struct shop_task {
    int64_t time_us; /* since the start */
    uint64_t number; /* order of creation: breaks ties */
    int32_t index;   /* slot or product */
    enum shop_task_kind kind;
};

/* A binary heap of tasks, the earliest first. */
struct shop_agenda {
    struct shop_task *tasks; /* (cap), (n) used */
    size_t n, cap;
    uint64_t created;
};

struct shop {
    struct shop_options options;
    struct rng rng;
    int64_t now_us;      /* since the start */
    double gap_us;       /* mean time between two events of a session */
    double session_rate; /* sessions for each simulated second, mean over a day */
    double demand;       /* pieces of a product of middle popularity bought in six hours */

    struct shop_product *products;  /* (items) */
    uint64_t id_factor, id_inverse; /* product <-> number in its id */
    struct shop_category categories[SHOP_CATEGORIES_MAX];
    int n_categories;
    uint64_t next_launch; /* products of smaller numbers are launched */

    struct shop_user *users;       /* (users) */
    struct shop_session *sessions; /* (n_sessions) */
    int n_sessions, free_session;
    struct shop_refund *refunds; /* (n_refunds) */
    int n_refunds, free_refund;
    struct shop_agenda agenda;
    uint64_t sessions_made, events_made, orders_made;

    int32_t first_item;                /* products not yet told at the beginning */
    int32_t pending[SHOP_PENDING_MAX]; /* products whose record comes before the next event */
    int n_pending;

    /* of the output that was handed out last */
    char text[SHOP_TEXT_MAX];
    size_t text_len;
    struct event_item items[SHOP_LIST_MAX > SHOP_CART_MAX ? SHOP_LIST_MAX : SHOP_CART_MAX];
    struct attribute context[1];
    struct attribute attributes[1];
    struct str categories_out[2];
};

/* shop_agenda.c */
void shop__agenda_add(struct shop_agenda *agenda, int64_t time_us, enum shop_task_kind kind,
                      int32_t index);
struct shop_task shop__agenda_take(struct shop_agenda *agenda); /* the agenda is not empty */

/* shop_names.c */
int shop__department_count(void);
int shop__noun_count(void); /* of each department */
const char *shop__department(int department);
const char *shop__noun(int department, int noun); /* "Kettle" */
double shop__department_price(int department);    /* median of its products */
/* "Norva Compact Kettle 1.7 L 340", "Norva"; written to out, cut at size - 1; return the length.
 * mix chooses. */
size_t shop__title(int department, int noun, uint64_t mix, char *out, size_t size);
size_t shop__brand(int department, uint64_t mix, char *out, size_t size);
struct str shop__adjective(uint64_t mix);

/* shop_catalogue.c */
void shop__catalogue_build(struct shop *shop);
uint64_t shop__mix(uint64_t a, uint64_t b); /* a hash of two numbers */
uint64_t shop__product_number(const struct shop *shop, int32_t product);
int32_t shop__product_of(const struct shop *shop, struct str item_id); /* -1 unknown */
/* A product of the category, popular ones more often; one that is not on sale is mostly refused. -1
 * after some tries. */
int32_t shop__pick_popular(struct shop *shop, int32_t category);
bool shop__shows(struct shop *shop,
                 int32_t product); /* launched, and in stock or (sometimes) not */
int32_t shop__pick_category(struct shop *shop, const struct shop_user *user);
/* How much of the demand of a middling product this one gets. */
double shop__popularity(const struct shop *shop, int32_t product);
int32_t shop__new_stock(struct shop *shop, int32_t product);

/* shop_session.c */
void shop__session_start(struct shop *shop);
/* Does one thing. True when it made an event in *output; false: the session ended in silence. */
bool shop__session_step(struct shop *shop, int32_t slot, struct shop_output *output);
void shop__refund_make(struct shop *shop, int32_t slot, struct shop_output *output);

/* shop_output.c: text that lives until the next output, and the records */
struct str shop__text(struct shop *shop, const char *prefix, uint64_t number); /* "u12" */
struct str shop__text_hex(struct shop *shop, const char *prefix,
                          uint64_t number); /* prefix and 16 digits */
struct str shop__text_join(struct shop *shop, struct str a, struct str b); /* "a b" */
struct str shop__item_id(struct shop *shop, int32_t product);
/* An event of this time with its id; the caller fills the rest. */
void shop__event_begin(struct shop *shop, struct shop_output *output, enum event_type type);
void shop__event_add_item(struct shop *shop, struct shop_output *output, int32_t product,
                          double quantity, int position);
void shop__item_output(struct shop *shop, struct shop_output *output, int32_t product);
void shop__tell_item(struct shop *shop, int32_t product); /* its record comes next */

#endif
