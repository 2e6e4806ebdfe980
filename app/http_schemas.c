/* The schemas of bodies and answers, for the OpenAPI document. A test holds answers against them. */
#include "app/http_internal.h"

/* clang-format off */
#define TEXT    "{\"type\":\"string\"}"
#define NUMBER  "{\"type\":\"number\"}"
#define INTEGER "{\"type\":\"integer\"}"
#define SAYS(type, text) "{\"type\":\"" type "\",\"description\":\"" text "\"}"
#define MAP(text) "{\"type\":\"object\",\"additionalProperties\":" TEXT ",\"description\":\"" text "\"}"
#define TRIGGER "{\"type\":\"object\",\"properties\":{\"topic\":" TEXT ",\"partition\":" INTEGER ",\"offset\":" INTEGER \
    ",\"event_id\":" TEXT ",\"event_time\":" INTEGER "}}"
#define REASONS "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"kind\"],\"properties\":{\"kind\":" TEXT \
    ",\"item_id\":" TEXT ",\"category\":" TEXT "}}}"
#define FACTS   "\"item_id\":" TEXT ",\"title\":" TEXT ",\"price\":" NUMBER
#define NULLABLE "{\"type\":\"string\",\"nullable\":true}"
#define NAMED   "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{" FACTS "}}}"
#define COUNTED "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"item_id\",\"score\"],\"properties\":{" FACTS \
    ",\"score\":" NUMBER ",\"count\":" NUMBER "}}}"

static const char lists[] = "{"
"\"Error\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"object\",\"properties\":{\"code\":" TEXT
    ",\"message\":" TEXT "}}}},"
"\"List\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"recommendation_id\":" TEXT ",\"user_id\":" TEXT ",\"tenant\":" TEXT
    ",\"scenario\":" TEXT ",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"item_id\",\"score\",\"reasons\"],"
    "\"properties\":{" FACTS ",\"score\":" NUMBER ",\"reasons\":" REASONS "}}},\"model_version\":" TEXT ",\"variant\":" TEXT
    ",\"trigger\":" TRIGGER ",\"published_at\":" INTEGER ",\"fallback\":" NULLABLE ",\"filled\":" INTEGER "}},"
"\"Related\":{\"type\":\"object\",\"required\":[\"items\",\"kind\"],\"properties\":{\"item_id\":" TEXT ",\"tenant\":" TEXT ",\"kind\":" TEXT
    ",\"items\":" COUNTED ",\"count\":" NUMBER ",\"event_time\":" INTEGER ",\"published_at\":" INTEGER
    ",\"fallback\":" NULLABLE ",\"filled\":" INTEGER "}},"
"\"Trending\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"tenant\":" TEXT ",\"category\":" TEXT ",\"items\":" COUNTED
    ",\"count\":" NUMBER ",\"event_time\":" INTEGER ",\"published_at\":" INTEGER ",\"fallback\":" NULLABLE "}},"
"\"Explanation\":{\"type\":\"object\",\"required\":[\"item_id\",\"rank\",\"reasons\"],\"properties\":{\"user_id\":" TEXT
    ",\"recommendation_id\":" TEXT "," FACTS ",\"rank\":" INTEGER ",\"score\":" NUMBER ",\"reasons\":" REASONS
    ",\"is_listed\":{\"type\":\"boolean\"},\"model_version\":" TEXT ",\"trigger\":" TRIGGER ",\"published_at\":" INTEGER "}},"
"";
static const char others[] = ""
"\"Item\":{\"type\":\"object\",\"required\":[\"item_id\"],\"properties\":{" FACTS ",\"tenant\":" TEXT
    ",\"categories\":{\"type\":\"array\",\"items\":" TEXT "},\"brand\":" TEXT ",\"stock\":" INTEGER ",\"available_from\":" INTEGER
    ",\"available_until\":" INTEGER ",\"attributes\":{\"type\":\"object\"},\"hidden\":{\"type\":\"boolean\"},\"published_at\":" INTEGER "}},"
"\"Items\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"properties\":{" FACTS ",\"brand\":" TEXT "}}}}},"
"\"Categories\":{\"type\":\"object\",\"required\":[\"categories\"],\"properties\":{\"categories\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"object\",\"properties\":{\"category\":" TEXT ",\"items\":" INTEGER "}}}}},"
"\"User\":{\"type\":\"object\",\"required\":[\"user_id\",\"window\"],\"properties\":{\"user_id\":" TEXT ",\"tenant\":" TEXT
    ",\"partition\":" INTEGER ",\"events\":" INTEGER ",\"newest_event_time\":" INTEGER ",\"window\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"object\",\"properties\":{" FACTS ",\"event_type\":" TEXT ",\"event_time\":" INTEGER "}}},\"bought\":" NAMED
    ",\"disliked\":" NAMED ",\"list\":" NAMED ",\"encoder_state\":{\"type\":\"object\"}}},"
"\"Session\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"oneOf\":[" TEXT
    ",{\"type\":\"object\",\"properties\":{\"item_id\":" TEXT "}}]},\"description\":\"Newest last.\"},\"tenant\":" TEXT
    ",\"context\":" MAP("What rules may ask for, such as region.") "}},"
"\"Event\":{\"type\":\"object\",\"required\":[\"event_type\"],\"properties\":{"
    "\"event_id\":" SAYS("string", "Makes a repeat harmless; without one it is given.")
    ",\"event_type\":" SAYS("string", "impression, click, view, add_to_cart, remove_from_cart, purchase, refund, search, like, dislike or other; "
                               "also the names of GA4, Segment and others, such as view_item and orderCompleted.")
    ",\"event_time\":" SAYS("integer", "ms since 1970; without one it is now.")
    ",\"user_id\":" TEXT ",\"anonymous_id\":" SAYS("string", "Cookie or device, before login; one of both ids is needed.")
    ",\"session_id\":" TEXT ",\"items\":{\"type\":\"array\",\"items\":{\"oneOf\":[" TEXT ",{\"type\":\"object\",\"properties\":{"
    "\"item_id\":" TEXT ",\"quantity\":" NUMBER ",\"price\":" NUMBER ",\"position\":" INTEGER "}}]}},\"query\":" TEXT
    ",\"order_id\":" TEXT ",\"value\":" NUMBER ",\"currency\":" TEXT ",\"recommendation_id\":" SAYS("string", "The list it came from.")
    ",\"tenant\":" TEXT ",\"consent\":{\"type\":\"boolean\"},\"context\":" MAP("What rules may ask for, such as region.")
    ",\"attributes\":" MAP("Kept with the event.") "}},"
"\"Events\":{\"oneOf\":[{\"$ref\":\"#/components/schemas/Event\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Event\"}}]},"
"\"Accepted\":{\"type\":\"object\",\"required\":[\"accepted\",\"event_ids\"],\"properties\":{\"accepted\":" INTEGER
    ",\"event_ids\":{\"type\":\"array\",\"items\":" TEXT "}}},"
"\"Forgetting\":{\"type\":\"object\",\"required\":[\"request_ids\"],\"properties\":{\"request_ids\":{\"type\":\"array\",\"items\":" TEXT "},\"receipts\":" TEXT "}},"
"\"Health\":{\"type\":\"object\",\"required\":[\"status\"],\"properties\":{\"status\":" TEXT ",\"message\":" TEXT "}}"
"}";
/* clang-format on */

void http__schemas_write(struct buf *out)
{
    buf_push_text(out, lists);
    buf_push_text(out, others);
    buf_push_byte(out, 0);
}
