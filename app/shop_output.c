/* How the simulated shop writes its records: ids, texts, events, items. Text lives in shop->text
 * until the next output. */
#include "app/shop_internal.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

/* Room for n bytes; SHOP_TEXT_MAX is enough for the largest record, and what does not fit is cut.
 * */
static char *text_room(struct shop *shop, size_t n, size_t *given)
{
    size_t left = SHOP_TEXT_MAX - shop->text_len;
    char *room = shop->text + shop->text_len;
    *given = n < left ? n : left;
    shop->text_len += *given;
    return room;
}

/* The bytes, kept until the next output. */
static struct str text_copy(struct shop *shop, const char *bytes, size_t n)
{
    size_t given;
    char *room = text_room(shop, n, &given);
    memcpy(room, bytes, given);
    return (struct str){room, given};
}

struct str shop__text(struct shop *shop, const char *prefix, uint64_t number)
{
    char text[40];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    size_t n = strlen(prefix);
    at -= n;
    memcpy(text + at, prefix, n);
    return text_copy(shop, text + at, sizeof(text) - at);
}

struct str shop__text_hex(struct shop *shop, const char *prefix, uint64_t number)
{
    char text[32];
    size_t n = strlen(prefix);
    memcpy(text, prefix, n);
    for (size_t i = 0; i < 16; i++)
        text[n + i] = hex_digits[number >> (60 - 4 * i) & 15];
    return text_copy(shop, text, n + 16);
}

struct str shop__text_join(struct shop *shop, struct str a, struct str b)
{
    size_t given;
    char *room = text_room(shop, a.len + 1 + b.len, &given);
    if (given < a.len + 1 + b.len) return (struct str){room, 0};
    memcpy(room, a.ptr, a.len);
    room[a.len] = ' ';
    memcpy(room + a.len + 1, b.ptr, b.len);
    return (struct str){room, given};
}

struct str shop__item_id(struct shop *shop, int32_t product)
{
    return shop__text(shop, "p", shop__product_number(shop, product));
}

/* Event time of what happens now. */
static int64_t now_ms(const struct shop *shop)
{
    return shop->options.start_ms + shop->now_us / 1000;
}

void shop__event_begin(struct shop *shop, struct shop_output *output, enum event_type type)
{
    uint64_t number = shop->events_made++;
    *output = (struct shop_output){.kind = SHOP_EVENT, .time_ms = now_ms(shop), .intent = -1};
    struct event *event = &output->event;
    event->event_id = shop__text_hex(shop, "e", shop__mix(shop->options.seed ^ 0xE7u, number));
    event->type = type;
    event->time_ms = output->time_ms;
    event->items = shop->items;
    event->consent = true;
}

void shop__event_add_item(struct shop *shop, struct shop_output *output, int32_t product,
                          double quantity, int position)
{
    struct event *event = &output->event;
    shop->items[event->n_items++] = (struct event_item){
        .item_id = shop__item_id(shop, product),
        .quantity = quantity,
        .price = shop->products[product].cents / 100.0,
        .has_price = true,
        .position = position,
    };
}

void shop__item_output(struct shop *shop, struct shop_output *output, int32_t product)
{
    const struct shop_product *p = &shop->products[product];
    const struct shop_category *category = &shop->categories[p->category];
    uint64_t mix = shop__mix(shop->options.seed ^ 0x717u, (uint64_t)product);
    char words[96];
    *output = (struct shop_output){.kind = SHOP_ITEM, .time_ms = now_ms(shop), .intent = -1};
    struct item *item = &output->item;
    item->item_id = shop__item_id(shop, product);
    size_t n = shop__title(category->department, category->noun, mix, words, sizeof(words));
    item->title = text_copy(shop, words, n);
    n = shop__brand(category->department, mix, words, sizeof(words));
    item->brand = text_copy(shop, words, n);
    shop->categories_out[0] = str_of(shop__department(category->department));
    shop->categories_out[1] = str_of(category->name);
    item->categories = shop->categories_out;
    item->n_categories = 2;
    item->price = p->cents / 100.0;
    item->has_price = true;
    item->stock = p->stock;
    shop->attributes[0] = (struct attribute){STR("style"), shop__adjective(mix >> 16)};
    item->attributes = shop->attributes;
    item->n_attributes = 1;
}

void shop__tell_item(struct shop *shop, int32_t product)
{
    if (shop->n_pending < SHOP_PENDING_MAX) shop->pending[shop->n_pending++] = product;
}
