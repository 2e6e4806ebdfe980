/* LINK:zlib*/
/* The log readers, on small files written here and on the real logs beside the repository. */
#include "tests/test.h"

#include <unistd.h>
#include <zlib.h>

#include "base/mem.h"
#include "train/train.h"

static char folder[64];

/* The path of a file of this test; lives until the next call. */
static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    CHECK_INT(fwrite(text, 1, strlen(text), f), strlen(text));
    CHECK_INT(fclose(f), 0);
    return path;
}

static struct log_reader *open_text(const char *text, enum log_format_kind kind, const char *map)
{
    struct err err = ERR_INIT;
    struct log_reader *reader = NULL;
    CHECK_OK(log_reader_open(&reader, write_file("in.txt", text), kind, map, &err), err);
    return reader;
}

static void check_str(int line, struct str got, const char *want)
{
    if (got.len != strlen(want) || memcmp(got.ptr ? got.ptr : "", want, got.len) != 0)
        test_fail(__FILE__, line, "got \"%.*s\", want \"%s\"", STR_ARG(got), want);
}

static void check_row(int line, struct log_reader *reader, const char *user, const char *item,
                      const char *type, int64_t time_ms)
{
    struct log_row row;
    struct err err = ERR_INIT;
    if (!log_reader_next(reader, &row, &err))
        test_fail(__FILE__, line, "no row: %s %s", err_class_name(err.class), err.text);
    check_str(line, row.user, user);
    check_str(line, row.item, item);
    check_str(line, row.type, type);
    CHECK_INT(row.time_ms, time_ms);
}

static void check_bad(int line, struct log_reader *reader, const char *part)
{
    struct log_row row;
    struct err err = ERR_INIT;
    if (log_reader_next(reader, &row, &err)) test_fail(__FILE__, line, "a row, not an error");
    CHECK_STR(err_class_name(err.class), err_class_name(ERR_DATA));
    CHECK_CONTAINS(err.text, part);
}

static void check_end(struct log_reader *reader)
{
    struct log_row row;
    struct err err = ERR_INIT;
    for (int i = 0; i < 2; i++) {
        CHECK(!log_reader_next(reader, &row, &err));
        CHECK_STR(err_class_name(err.class), err_class_name(ERR_NONE));
    }
    log_reader_close(reader);
}

#define ROW(...) check_row(__LINE__, __VA_ARGS__)
#define BAD(...) check_bad(__LINE__, __VA_ARGS__)

static void pairs(void)
{
    struct log_reader *r = open_text("1 10\r\n\n2\t20\nonly\na b c\nx y", LOGFILE_PAIRS, NULL);
    ROW(r, "1", "10", "", 0);
    ROW(r, "2", "20", "", 0);
    BAD(r, "in.txt:4: expected two fields");
    BAD(r, "in.txt:5: ");
    ROW(r, "x", "y", "", 0);
    check_end(r);
    check_end(open_text("", LOGFILE_PAIRS, NULL));
}

static void lines(void)
{
    struct log_reader *r = open_text("a b  a\n\n  c \t\n", LOGFILE_LINES, NULL);
    ROW(r, "1", "a", "", 0);
    ROW(r, "1", "b", "", 0);
    ROW(r, "1", "a", "", 0);
    ROW(r, "3", "c", "", 0);
    check_end(r);
}

static void sessions(void)
{
    struct log_reader *r =
        open_text("SessionId\tItemId\tTime\n10036\t14957\t1592337718.0\n"
                  "1\t214536502\t1396860669.277\n7\t8\tsoon\n7\t8\t1396860669277\n",
                  LOGFILE_SESSIONS, NULL);
    ROW(r, "10036", "14957", "", 1592337718000);
    ROW(r, "1", "214536502", "", 1396860669277);
    BAD(r, "in.txt:4: no time");
    ROW(r, "7", "8", "", 1396860669277);
    check_end(r);
    r = open_text("1 2 3\n", LOGFILE_SESSIONS, NULL);
    ROW(r, "1", "2", "", 3000);
    check_end(r);
}

static void events(void)
{
    struct log_reader *r =
        open_text("\xEF\xBB\xBFtimestamp,user,event,item\n1430623510,1176,view,6768\n"
                  "2015-05-03T03:25:10.5Z,\"Smith, \"\"J\"\"\",add to cart,\"two\nlines\"\n"
                  "1,2\n1430623510,,view,1\n1430623510,1,view,\nx,1,view,2\n5 , 6,7 ,\t8 \n",
                  LOGFILE_EVENTS, NULL);
    ROW(r, "1176", "6768", "view", 1430623510000);
    ROW(r, "Smith, \"J\"", "two\nlines", "add to cart", 1430623510500);
    BAD(r, "in.txt:5: 2 fields; the header has 4");
    BAD(r, "in.txt:6: the user is empty");
    BAD(r, "in.txt:7: the item is empty");
    BAD(r, "in.txt:8: no time");
    ROW(r, "6", "8", "7", 5000);
    check_end(r);
}

static void mapping(void)
{
    struct log_reader *r = open_text(
        "InvoiceNo;StockCode;Quantity;InvoiceDate;UnitPrice;CustomerID\n"
        "536365;85123A;-6;2010-12-01 08:26:00;2.55;17850.0\nC1;12\" DISC;1;2010-12-01 08:26;x;1\n"
        "536366;7;1;2010-12-01;;\n",
        LOGFILE_EVENTS,
        "user=CustomerID|InvoiceNo,item=StockCode,time=InvoiceDate,order=InvoiceNo,"
        "quantity=Quantity,price=UnitPrice,type==purchase");
    struct log_row row;
    struct err err = ERR_INIT;
    CHECK_OK(log_reader_next(r, &row, &err), err);
    check_str(__LINE__, row.user, "17850.0");
    check_str(__LINE__, row.order, "536365");
    check_str(__LINE__, row.type, "purchase");
    CHECK_INT(row.time_ms, 1291191960000);
    CHECK_NEAR(row.quantity, -6, 0);
    CHECK_NEAR(row.price, 2.55, 0);
    CHECK_INT(row.line, 2);
    BAD(r, "in.txt:3: the price is no number: \"x\"");
    CHECK_OK(log_reader_next(r, &row, &err), err);
    check_str(__LINE__, row.user, "536366");
    CHECK(isnan(row.price));
    CHECK_INT(row.time_ms, 1291161600000);
    check_end(r);
}

static void fails_to_open(const char *text, enum log_format_kind kind, const char *map,
                          const char *part)
{
    struct err err = ERR_INIT;
    struct log_reader *reader = NULL;
    CHECK_FAIL(log_reader_open(&reader, write_file("in.txt", text), kind, map, &err), err,
               ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, part);
}

static void open_errors(void)
{
    struct err err = ERR_INIT;
    struct log_reader *reader = NULL;
    CHECK_FAIL(log_reader_open(&reader, path_of("none"), LOGFILE_PAIRS, NULL, &err), err,
               ERR_FATAL);
    CHECK_CONTAINS(err.text, "none: cannot open");
    CHECK_FAIL(log_reader_open(&reader, folder, LOGFILE_PAIRS, NULL, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "is a folder");
    fails_to_open("", LOGFILE_EVENTS, NULL, "is empty");
    fails_to_open("a,b\n", LOGFILE_EVENTS, NULL, "which column is the user?");
    fails_to_open("a,b\n", LOGFILE_EVENTS, "user=a,item=c",
                  "no column \"c\" (--map item=); the header has: a, b");
    fails_to_open("a,b\n", LOGFILE_EVENTS, "usr=a", "\"usr\" is no field");
    fails_to_open("a b\n", LOGFILE_PAIRS, "user=a", "--map belongs to");
}

static void write_gzip(const char *path, const char *text)
{
    gzFile f = gzopen(path, "wb");
    CHECK(f != NULL);
    CHECK_INT(gzwrite(f, text, (unsigned)strlen(text)), strlen(text));
    CHECK_INT(gzclose(f), Z_OK);
}

static void gzip(void)
{
    struct err err = ERR_INIT;
    struct log_reader *r = NULL;
    const char *path = path_of("packed.txt"); /* told by its content, not its name */
    write_gzip(path, "1 2\n3 4\n");
    CHECK_OK(log_reader_open(&r, path, LOGFILE_PAIRS, NULL, &err), err);
    ROW(r, "1", "2", "", 0);
    ROW(r, "3", "4", "", 0);
    check_end(r);
    CHECK_INT(truncate(path, 20), 0);
    CHECK_OK(log_reader_open(&r, path, LOGFILE_PAIRS, NULL, &err), err);
    struct log_row row;
    while (log_reader_next(r, &row, &err))
        continue;
    CHECK_STR(err_class_name(err.class), err_class_name(ERR_FATAL));
    CHECK_CONTAINS(err.text, "damaged or cut off");
    check_end(r);
}

static void long_record(void)
{
    struct log_reader *r;
    size_t n = (1 << 20) + 10;
    char *text = mem_alloc(n + 16);
    memset(text, 'a', n);
    memcpy(text + n, "\n1 2\n", 6);
    r = open_text(text, LOGFILE_PAIRS, NULL);
    mem_free(text);
    BAD(r, "in.txt:1: record of more than");
    ROW(r, "1", "2", "", 0);
    check_end(r);
}

/* An opening quote that is never closed costs what one record may be, not the file. */
static void open_quote(void)
{
    size_t rows = 20000, room = rows * 8 + 64;
    char *text = mem_alloc(room);
    size_t at = (size_t)snprintf(text, room, "user,item\n\"1,2\n");
    for (size_t i = 0; i < rows; i++)
        at += (size_t)snprintf(text + at, room - at, "3,4\n");
    struct log_reader *r = open_text(text, LOGFILE_EVENTS, NULL);
    mem_free(text);
    BAD(r, "is a quote not closed?");
    ROW(r, "3", "4", "", 0);
    log_reader_close(r);
}

struct real_log {
    const char *path;
    enum log_format_kind kind;
    const char *map;
    int64_t rows;
    int64_t bad;
};

/* The row counts are those that the data's README states. */
static void real_logs(void)
{
    static const struct real_log logs[] = {
        {"serenade/train.tsv.gz", LOGFILE_SESSIONS, NULL, 113601, 0},
        {"yoochoose-100k/test.tsv.gz", LOGFILE_SESSIONS, NULL, 13568, 0},
        {"retailrocket-buyers/events.csv.gz", LOGFILE_EVENTS, NULL, 97381, 0},
        {"beauty/beauty-sasrec.txt.gz", LOGFILE_PAIRS, NULL, 394908, 0},
        {"ml-latest-small/ratings.csv.gz", LOGFILE_EVENTS, NULL, 100836, 0},
        {"online-retail/online_retail.csv.gz", LOGFILE_EVENTS,
         "user=CustomerID|InvoiceNo,item=StockCode,time=InvoiceDate,order=InvoiceNo,"
         "quantity=Quantity,price=UnitPrice,type==purchase",
         541909, 0},
    };
    const char *root = getenv("FRESHET_TEST_DATA");
    if (!root) root = FRESHET_SOURCE_DIR "/../shared/data";
    size_t n = sizeof logs / sizeof logs[0];
#ifdef FRESHET_SANITIZED
    n--; /* the largest takes too long */
#endif
    for (size_t i = 0; i < n; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", root, logs[i].path);
        if (access(path, R_OK) != 0) {
            printf("SKIPPED: %s is not there (set FRESHET_TEST_DATA)\n", path);
            continue;
        }
        struct err err = ERR_INIT;
        struct log_reader *r = NULL;
        CHECK_OK(log_reader_open(&r, path, logs[i].kind, logs[i].map, &err), err);
        struct log_row row;
        int64_t rows = 0, bad = 0;
        while (log_reader_next(r, &row, &err) || err.class == ERR_DATA) {
            rows += err.class == ERR_NONE;
            bad += err.class == ERR_DATA;
        }
        CHECK_STR(err_class_name(err.class), err_class_name(ERR_NONE));
        CHECK_INT(rows, logs[i].rows);
        CHECK_INT(bad, logs[i].bad);
        CHECK_NEAR(log_reader_progress(r), 1, 0.01);
        log_reader_close(r);
    }
}

int main(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-logfile-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    CASE(pairs);
    CASE(lines);
    CASE(sessions);
    CASE(events);
    CASE(mapping);
    CASE(open_errors);
    CASE(gzip);
    CASE(long_record);
    CASE(open_quote);
    CASE(real_logs);
    static const char *const names[] = {"in.txt", "packed.txt"};
    for (int i = 0; i < 2; i++)
        (void)unlink(path_of(names[i]));
    CHECK_INT(rmdir(folder), 0);
    return 0;
}
