/* LINK: zlib */
/* freshet import without Kafka: rows of the four formats become the expected events, bad rows are
 * told. */
#include "app/import.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "tests/test.h"

static char folder[64];
static char path[128];

/* Writes a file of this name and content; zipped when told so. */
static void write_file(const char *name, const char *content, bool zip)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    gzFile file = gzopen(path, zip ? "wb" : "wbT");
    CHECK(file != NULL);
    CHECK_INT(gzwrite(file, content, (unsigned)strlen(content)), strlen(content));
    CHECK_INT(gzclose(file), Z_OK);
}

static struct import_options options_of(enum log_format_kind kind)
{
    return (struct import_options){.path = path,
                                   .kind = kind,
                                   .type = EVENT_CLICK,
                                   .name = "t",
                                   .tenant = "",
                                   .start_ms = 1000000};
}

static struct import *open_ok(const struct import_options *options)
{
    struct err err = ERR_INIT;
    struct import *import;
    CHECK_OK(import_open(&import, options, NULL, NULL, &err), err);
    return import;
}

static void expect_text(struct str got, const char *want)
{
    CHECK_BYTES(got.ptr, got.len, want, strlen(want));
}

/* The next event is of this user, type and time, with these items joined by '+'. */
static void expect(struct import *import, const char *user, enum event_type type, int64_t time_ms,
                   const char *items, const char *event_id)
{
    struct event event;
    char joined[256] = "";
    CHECK(import_next(import, &event));
    for (size_t i = 0; i < event.n_items; i++) {
        size_t n = strlen(joined);
        (void)snprintf(joined + n, sizeof(joined) - n, "%s%.*s", i ? "+" : "",
                       STR_ARG(event.items[i].item_id));
    }
    expect_text(event.user_id, user);
    CHECK_INT(event.type, type);
    CHECK_INT(event.time_ms, time_ms);
    CHECK_STR(joined, items);
    expect_text(event.event_id, event_id);
    CHECK(event.consent);
}

static void expect_end(struct import *import)
{
    struct event event;
    CHECK(!import_next(import, &event));
    import_close(import);
}

/* ---- the formats ---- */

static void pairs(void)
{
    write_file("pairs.txt", "u1 a\nu2 b\nu1 c\n", false);
    struct import_options options = options_of(LOGFILE_PAIRS);
    struct import *import = open_ok(&options);
    expect(import, "u1", EVENT_CLICK, 1000000, "a", "t-1");
    expect(import, "u2", EVENT_CLICK, 1001000, "b", "t-2");
    expect(import, "u1", EVENT_CLICK, 1002000, "c", "t-3");
    expect_end(import);
}

static void lines(void)
{
    write_file("lines.txt.gz", "a b\nc\n", true);
    struct import_options options = options_of(LOGFILE_LINES);
    struct import *import = open_ok(&options);
    struct event event;
    const char *items = "abc";
    for (int i = 0; i < 3; i++) {
        CHECK(import_next(import, &event));
        CHECK_INT(event.n_items, 1);
        CHECK_INT(event.items[0].item_id.ptr[0], items[i]);
        CHECK_INT(event.time_ms, 1000000 + i * 1000);
    }
    expect_end(import);
}

/* Rows that are not in the order of time come out in it; rows of one time stay in their order. */
static void sessions_are_sorted(void)
{
    write_file("s.tsv",
               "SessionId\tItemId\tTime\n7\tz\t1592337800.0\n7\ty\t1592337900.5\n3\tx\t1592337800."
               "0\n3\tw\t1592337700\n",
               false);
    struct import_options options = options_of(LOGFILE_SESSIONS);
    options.type = EVENT_VIEW;
    struct import *import = open_ok(&options);
    expect(import, "3", EVENT_VIEW, 1592337700000, "w", "t-5");
    expect(import, "7", EVENT_VIEW, 1592337800000, "z", "t-2");
    expect(import, "3", EVENT_VIEW, 1592337800000, "x", "t-4");
    expect(import, "7", EVENT_VIEW, 1592337900500, "y", "t-3");
    expect_end(import);
}

static const char shop_csv[] = "timestamp,visitorid,event,itemid\n"
                               "1430623510,1176,view,6768\n"
                               "1430623535,1176,addtocart,6768\n"
                               "1430623600,1176,transaction,6768\n";

static void events_by_usual_names(void)
{
    write_file("e.csv", shop_csv, false);
    struct import_options options = options_of(LOGFILE_EVENTS);
    struct import *import = open_ok(&options);
    expect(import, "1176", EVENT_VIEW, 1430623510000, "6768", "t-2");
    expect(import, "1176", EVENT_ADD_TO_CART, 1430623535000, "6768", "t-3");
    expect(import, "1176", EVENT_PURCHASE, 1430623600000, "6768", "t-4");
    expect_end(import);
}

/* As in online-retail: orders, a return, a row that is no product, a customer that is missing. */
static void orders_and_returns(void)
{
    static const char *const skip[] = {"POST", "gift_*"};
    write_file("retail.csv",
               "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
               "536365,85123A,\"HEART, WHITE\",6,2010-12-01 08:26:00,2.55,17850.0\n"
               "536365,71053,LANTERN,2,2010-12-01 08:26:00,3.39,17850.0\n"
               "536365,POST,POSTAGE,1,2010-12-01 08:26:00,18.00,17850.0\n"
               "536366,22633,HAND WARMER,6,2010-12-01 08:28:00,1.85,17850.0\n"
               "C536379,22633,HAND WARMER,-1,2010-12-01 09:41:00,1.85,14527.0\n"
               "536380,gift_0001_20,VOUCHER,1,2010-12-01 09:41:00,16.67,14527.0\n"
               "536381,84406B,CREAM,1,2010-12-01 09:42:00,2.75,\n",
               false);
    struct import_options options = options_of(LOGFILE_EVENTS);
    options.map =
        "user=CustomerID|InvoiceNo,item=StockCode,type==purchase,time=InvoiceDate,order=InvoiceNo,"
        "quantity=Quantity,price=UnitPrice";
    options.skip_items = skip;
    options.n_skip = 2;
    struct import *import = open_ok(&options);
    struct event event;
    CHECK(import_next(import, &event));
    CHECK_INT(event.type, EVENT_PURCHASE);
    CHECK_INT(event.n_items, 2);
    expect_text(event.order_id, "536365");
    expect_text(event.items[1].item_id, "71053");
    CHECK_NEAR(event.items[0].quantity, 6, 0);
    CHECK_NEAR(event.items[0].price, 2.55, 1e-6);
    CHECK(event.has_value);
    CHECK_NEAR(event.value, 6 * 2.55 + 2 * 3.39, 1e-5);
    expect(import, "17850.0", EVENT_PURCHASE, 1291192080000, "22633", "t-5");
    CHECK(import_next(import, &event));
    CHECK_INT(event.type, EVENT_REFUND);
    CHECK_NEAR(event.items[0].quantity, 1, 0);
    expect(import, "536381", EVENT_PURCHASE, 1291196520000, "84406B", "t-8");
    CHECK_INT(import_bad_count(import, IMPORT_SKIPPED_ITEM), 2);
    CHECK_INT(import_row_count(import), 7);
    expect_end(import);
}

/* ---- bad rows ---- */

static const char bad_csv[] = "user,item,event,time,quantity\n"
                              "u1,a,view,1430623510,1\n"
                              "u1,a,teleport,1430623511,1\n"
                              ",a,view,1430623512,1\n"
                              "u1,,view,1430623513,1\n"
                              "u1,a,view,yesterday,1\n"
                              "u1,b,view,1430623514,0\n"
                              "u1,c,view,1430623515,1\n";

static void bad_rows_are_counted_and_shown(void)
{
    uint64_t bad = 0;
    write_file("bad.csv", bad_csv, false);
    struct import_options options = options_of(LOGFILE_EVENTS);
    struct import *import = open_ok(&options);
    CHECK_INT(import_row_count(import), 7);
    CHECK_INT(import_event_count(import), 2);
    CHECK_INT(import_bad_count(import, IMPORT_BAD_TYPE), 1);
    for (int i = 0; i < IMPORT_BAD_COUNT; i++)
        bad += import_bad_count(import, (enum import_bad)i);
    CHECK_INT(bad, 5);
    CHECK_CONTAINS(import_bad_shown(import, 0), "line 3: unknown event type 'teleport'");
    CHECK_CONTAINS(import_bad_shown(import, 1), "line 4: ");
    CHECK(import_bad_shown(import, IMPORT_SHOWN_MAX) == NULL);
    expect(import, "u1", EVENT_VIEW, 1430623510000, "a", "t-2");
    expect(import, "u1", EVENT_VIEW, 1430623515000, "c", "t-8");
    expect_end(import);
}

static void strict_stops_with_the_place(void)
{
    struct err err = ERR_INIT;
    struct import *import;
    write_file("bad.csv", bad_csv, false);
    struct import_options options = options_of(LOGFILE_EVENTS);
    options.strict = true;
    CHECK_FAIL(import_open(&import, &options, NULL, NULL, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_DATA);
    CHECK_CONTAINS(err.text, "bad.csv:3: unknown event type 'teleport'");
}

static void what_cannot_be_read(void)
{
    struct err err = ERR_INIT;
    struct import *import;
    struct import_options options = options_of(LOGFILE_EVENTS);
    (void)snprintf(path, sizeof(path), "%s/nothing.csv", folder);
    CHECK_FAIL(import_open(&import, &options, NULL, NULL, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, "nothing.csv");
    write_file("e.csv", shop_csv, false);
    options.map = "user=nobody,item=itemid,type=event,time=timestamp";
    CHECK_FAIL(import_open(&import, &options, NULL, NULL, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "nobody");
}

/* ---- ids and limits ---- */

static void ids_are_the_same_twice_and_differ_by_file(void)
{
    char first[64], other[64];
    struct event event;
    struct import_options options = options_of(LOGFILE_PAIRS);
    options.name = NULL;
    write_file("train.txt", "u1 a\n", false);
    for (int i = 0; i < 2; i++) {
        struct import *import = open_ok(&options);
        CHECK(import_next(import, &event));
        (void)snprintf(i ? other : first, 64, "%.*s", STR_ARG(event.event_id));
        import_close(import);
    }
    CHECK_STR(other, first);
    CHECK(strncmp(first, "train-", 6) == 0);
    write_file("train.txt", "u1 b\n", false);
    struct import *import = open_ok(&options);
    CHECK(import_next(import, &event));
    (void)snprintf(other, sizeof(other), "%.*s", STR_ARG(event.event_id));
    CHECK(strcmp(first, other) != 0);
    import_close(import);
}

static void limit_and_tenant(void)
{
    struct event event;
    write_file("pairs.txt", "u1 a\nu2 b\nu1 c\n", false);
    struct import_options options = options_of(LOGFILE_PAIRS);
    options.limit = 2;
    options.tenant = "shop-b";
    struct import *import = open_ok(&options);
    CHECK_INT(import_event_count(import), 2);
    CHECK(import_next(import, &event));
    expect_text(event.tenant, "shop-b");
    import_close(import);
}

/* An order longer than a record may be becomes several events. */
static void long_orders_are_split(void)
{
    enum { ROWS = 1201 };
    struct event event;
    struct buf text;
    size_t items = 0;
    int events = 0;
    buf_init(&text, 1 << 20);
    buf_push_text(&text, "user,item,event,time,order_id\n");
    for (int i = 0; i < ROWS; i++)
        buf_push_format(&text, "u1,i%d,purchase,1430623510,o1\n", i);
    buf_push_byte(&text, 0);
    write_file("long.csv", (const char *)text.data, false);
    struct import_options options = options_of(LOGFILE_EVENTS);
    struct import *import = open_ok(&options);
    while (import_next(import, &event)) {
        events++;
        items += event.n_items;
        CHECK(event.n_items <= 1000);
    }
    CHECK_INT(items, ROWS);
    CHECK_INT(events, 3);
    import_close(import);
    buf_fini(&text);
}

/* What the test wrote goes away again. */
static void clean_up(void)
{
    static const char *const names[] = {"pairs.txt",  "lines.txt.gz", "s.tsv",     "e.csv",
                                        "retail.csv", "bad.csv",      "train.txt", "long.csv"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    CHECK_INT(rmdir(folder), 0);
}

int main(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/freshet-import-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    CASE(pairs);
    CASE(lines);
    CASE(sessions_are_sorted);
    CASE(events_by_usual_names);
    CASE(orders_and_returns);
    CASE(bad_rows_are_counted_and_shown);
    CASE(strict_stops_with_the_place);
    CASE(what_cannot_be_read);
    CASE(ids_are_the_same_twice_and_differ_by_file);
    CASE(limit_and_tenant);
    CASE(long_orders_are_split);
    clean_up();
    return 0;
}
