/* `freshet eval` as a person calls it: every protocol, logs that no paper has, and what it says when there is nothing to say.
 *
 * LINK: jansson */
#include <jansson.h>
#include <unistd.h>

#include "model/model.h"
#include "tests/app/program.h"
#include "tests/test.h"

static char folder[64];

static void write_file(const char *name, const char *content)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK_INT(fwrite(content, 1, strlen(content), file), strlen(content));
    CHECK_INT(fclose(file), 0);
}

/* A call that has to succeed. Returns the JSON object of its last line; the caller drops it. */
static json_t *eval_ok(const char *arguments)
{
    char call[1024];
    json_error_t trouble;
    (void)snprintf(call, sizeof(call), "eval %s", arguments);
    int code = program_call(folder, "", call);
    if (code != 0) (void)fputs(program_output, stderr);
    CHECK_INT(code, 0);
    const char *object = strrchr(program_output, '\n');
    while (object > program_output && (*object != '{' || object[-1] != '\n'))
        object--;
    json_t *json = json_loads(object, JSON_DISABLE_EOF_CHECK, &trouble);
    if (!json) (void)fprintf(stderr, "%s: %s\n", trouble.text, object);
    CHECK(json != NULL);
    return json;
}

static void eval_fails(const char *arguments, int code, const char *words)
{
    char call[1024];
    (void)snprintf(call, sizeof(call), "eval %s", arguments);
    CHECK_INT(program_call(folder, "", call), code);
    CHECK_CONTAINS(program_output, words);
}

static double number_of(const json_t *json, const char *arm, const char *key)
{
    const json_t *value = json_object_get(json_object_get(json, arm), key);
    if (!json_is_number(value)) (void)fprintf(stderr, "no %s of %s\n", key, arm);
    CHECK(json_is_number(value));
    return json_number_value(value);
}

static int64_t count_of(const json_t *json, const char *key)
{
    CHECK(json_is_integer(json_object_get(json, key)));
    return json_integer_value(json_object_get(json, key));
}

/* Ids with quotes, commas, line ends, other scripts and the length of a line; repeats; users with one event; items that come
 * up behind the split; types that nobody knows; bad rows; a returned purchase. */
static void write_strange_log(void)
{
    static char text[1 << 16];
    size_t at = (size_t)snprintf(text, sizeof text, "user,item,type,time,quantity\n");
    for (int i = 0; i < 300; i++) {
        int user = i % 17, item = (i * 7 + user) % 11;
        const char *type = i % 5 ? "view" : i % 3 ? "purchase" : "add-to-cart";
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "\"u, %d\",\"\xc3\xa9\xe2\x82\xac\"\"%d\",%s,%d,1\n", user, item,
                               type, 1600000000 + 60 * i);
        at += (size_t)snprintf(text + at, sizeof text - at, "once %d,late-%d,view,%d,1\n", i, i / 9,
                               1600000001 + 60 * i);
    }
    at += (size_t)snprintf(text + at, sizeof text - at,
                           "u0,x,teleport,1600000003,1\n"  /* no such type */
                           "u0,x,purchase,1600000004,-2\n" /* came back */
                           "u0,x,view,yesterday,1\n"       /* no time */
                           ",x,view,1600000005,1\n"        /* nobody */
                           "\"u\n0\",\"two\nlines\",view,1600000006,1\n"
                           "same,same,view,1600000007,1\n"
                           "same,same,view,1600000007,1\n"
                           "same,same,view,1600000007,1\n");
    char wide[251] = ""; /* an id nearly as long as one may be */
    memset(wide, 'i', sizeof wide - 1);
    (void)snprintf(text + at, sizeof text - at, "%s,%s,view,1600000008,1\n", wide, wide);
    write_file("strange.csv", text);
}

static void strange_log(void)
{
    const char *const protocols[] = {"next-item --split-time 0.5", "time-split --split-time 0.5",
                                     "leave-one-out", "lrurec", "sasrec"};
    const char *const arms[] = {"popularity", "neighbours", "markov", "blend"};
    write_strange_log();
    for (int p = 0; p < 5; p++) {
        char arguments[512];
        (void)snprintf(arguments, sizeof(arguments),
                       "--input strange.csv --format events --map "
                       "user=user,item=item,type=type,time=time,quantity=quantity "
                       "--protocol %s --by length,popularity,type --against popularity --k 1,3,20",
                       protocols[p]);
        json_t *json = eval_ok(arguments);
        CHECK(count_of(json, "targets") >= 15);
        for (int a = 0; a < 4; a++) {
            /* The published protocols mask all eleven items that the log goes round in. */
            CHECK_INT(number_of(json, arms[a], "hr@20") > 0, p < 3);
            CHECK(number_of(json, arms[a], "coverage@20") <= 1);
            CHECK(number_of(json, arms[a], "diversity@20") >= 0);
            CHECK(number_of(json, arms[a], "hr@20") <= 1);
            CHECK(number_of(json, arms[a], "hr@1") <= number_of(json, arms[a], "hr@3"));
            CHECK_NEAR(number_of(json, arms[a], "recall@3"), number_of(json, arms[a], "hr@3"), 0);
        }
        json_t *views = json_object_get(json_object_get(json, "by_type"), "view");
        CHECK(count_of(views, "targets") > 0);
        json_decref(json);
    }
    CHECK_CONTAINS(program_output, "bad rows");
}

/* The three ways to split one log of a, b and c: a 1 2 3, b 1 2, c 3 1. Split at half of the time: b and c begin behind it, a goes on. */
static void protocols_differ(void)
{
    write_file("log.tsv",
               "SessionId ItemId Time\na 1 1000\na 2 1400\na 3 1600\nb 1 1700\nb 2 1800\n"
               "c 3 1900\nc 1 2000\n");
    json_t *json =
        eval_ok("--input log.tsv --format sessions --protocol next-item --split-time 0.5");
    CHECK_INT(count_of(json, "targets"), 3); /* a 3, b 2, c 1 */
    CHECK_INT(count_of(json, "first"), 2);
    CHECK_STR(json_string_value(json_object_get(json, "protocol")), "next-item");
    json_decref(json);
    json = eval_ok("--input log.tsv --format sessions --protocol time-split --split-time 0.5");
    CHECK_INT(count_of(json, "targets"), 1); /* a 3 */
    CHECK_STR(json_string_value(json_object_get(json, "protocol")), "time-split");
    json_decref(json);
    json = eval_ok("--input log.tsv --format sessions --protocol leave-one-out");
    CHECK_INT(count_of(json, "targets"), 3);
    CHECK_STR(json_string_value(json_object_get(json, "protocol")), "leave-one-out");
    json_decref(json);
}

/* What the pipeline's lists would say: b's 2 follows a's 1 2 only where the index learnt from a. */
static void intervals_and_options(void)
{
    write_file("past.tsv", "p 1 1000\np 2 1001\nq 3 1002\nq 4 1003\n");
    write_file("test.tsv",
               "a 1 2000\na 2 2001\nb 3 2002\nb 4 2003\nc 7 2004\nc 8 2005\nd 7 2006\nd 8 2007\n");
    const char *call =
        "--input past.tsv --test test.tsv --format sessions --protocol serenade --k 1 "
        "--arms neighbours";
    json_t *json = eval_ok(call);
    CHECK_NEAR(number_of(json, "neighbours", "hr@1"), 0.5, 1e-6);
    json_t *interval =
        json_object_get(json_object_get(json_object_get(json, "neighbours"), "interval"), "hr@1");
    CHECK_INT(json_array_size(interval), 2);
    CHECK(json_number_value(json_array_get(interval, 0)) < 0.5);
    CHECK(json_number_value(json_array_get(interval, 1)) > 0.5);
    CHECK(json_object_get(json, "popularity") == NULL);
    json_decref(json);
    char live[512];
    (void)snprintf(live, sizeof live, "%s --learn true --resamples 0", call);
    json = eval_ok(live);
    CHECK_NEAR(number_of(json, "neighbours", "hr@1"), 0.75, 1e-6); /* d learns from c */
    CHECK(json_object_get(json_object_get(json, "neighbours"), "interval") == NULL);
    json_decref(json);
    eval_fails("--input past.tsv --protocol leave-one-out --arms neighbors", 2, "neighbors");
    eval_fails("--input past.tsv --protocol leave-one-out --against nobody", 2, "nobody");
    eval_fails("--input past.tsv --protocol leave-one-out --neighbours k=0", 2, "neighbours.k");
    eval_fails("--input past.tsv --protocol leave-one-out --neighbours k", 2, "name=value");
    eval_fails("--input past.tsv --protocol leave-one-out --by weather", 2, "weather");
    eval_fails("--input past.tsv --format sessions --protocol leave-one-out --against encoder", 2,
               "encoder");
}

static void nothing_to_predict(void)
{
    write_file("empty.tsv", "");
    write_file("header.tsv", "SessionId ItemId Time\n");
    write_file("ones.tsv", "a 1 1000\nb 2 1001\nc 3 1002\n");
    write_file("two.tsv", "a 1 1000\na 2 1001\n");
    write_file("noise.tsv", "\x01\x02\x03\n\xff\xfe\n");
    eval_fails("--input empty.tsv --format sessions --protocol leave-one-out", 2, "empty.tsv");
    eval_fails("--input header.tsv --format sessions --protocol leave-one-out", 2, "header.tsv");
    eval_fails("--input noise.tsv --format sessions --protocol leave-one-out", 2, "noise.tsv");
    eval_fails("--input gone.tsv --format sessions --protocol leave-one-out", 2, "gone.tsv");
    eval_fails("--input ones.tsv --format sessions --protocol leave-one-out", 2,
               "nothing to predict");
    eval_fails("--input ones.tsv --format sessions --protocol next-item --split-time 0.5", 2,
               "nothing to predict");
    eval_fails("--input ones.tsv --format sessions --protocol time-split --split-time 0.5", 2,
               "nothing to predict");
    eval_fails("--input two.tsv --test header.tsv --format sessions --protocol serenade", 2,
               "header.tsv");
    eval_fails("--input two.tsv --test ones.tsv --format sessions --protocol serenade", 2,
               "nothing to predict");
    eval_fails("--input two.tsv --format sessions --protocol time-split", 2, "--split-time");
    /* One user, one target, whose item the training part does not hold. */
    json_t *json = eval_ok("--input two.tsv --format sessions --protocol leave-one-out");
    CHECK_INT(count_of(json, "targets"), 1);
    CHECK_INT(count_of(json, "unseen"), 1);
    CHECK_NEAR(number_of(json, "popularity", "hr@20"), 0, 0);
    json_decref(json);
}

/* Orders of four items that always meet; the flags' defaults are the model's. */
static void orders(void)
{
    char text[1 << 14], call[512];
    size_t at = (size_t)snprintf(text, sizeof text, "order,item,time\n");
    for (int o = 0; o < 60; o++)
        for (int j = 0; j < 4; j++)
            at += (size_t)snprintf(text + at, sizeof text - at, "o%d,i%d,%d\n", o, o % 5 * 4 + j,
                                   1600000000 + 60 * o);
    write_file("orders.csv", text);
    const char *input = "--map user=order,item=item,type==purchase,time=time --quiet --input";
    (void)snprintf(call, sizeof call, "--protocol baskets --resamples 50 %s %s/orders.csv", input,
                   folder);
    json_t *json = eval_ok(call);
    struct model_score_options usual = model_score_options_default();
    CHECK_STR(json_string_value(json_object_get(json, "score")),
              model_measure_names[usual.measure]);
    CHECK_NEAR(json_number_value(json_object_get(json, "prior")), usual.prior, 0);
    CHECK_NEAR(json_number_value(json_object_get(json, "damping")), usual.damping, 0);
    CHECK_INT(count_of(json, "orders"), 60);
    CHECK_INT(count_of(json, "asked"), 12);
    CHECK_INT(count_of(json, "queries"), 48);
    CHECK_NEAR(number_of(json, "bought_together", "hr@5"), 1, 1e-6);
    CHECK_NEAR(number_of(json, "raw_counts", "hr@5"), 1, 1e-6);
    CHECK(number_of(json, "popularity", "hr@5") < 0.5);
    json_decref(json);
    (void)snprintf(call, sizeof call, "--protocol baskets --mask window %s %s/orders.csv", input,
                   folder);
    eval_fails(call, 2, "takes no --mask");
    (void)snprintf(call, sizeof call, "--protocol baskets --given 4 %s %s/orders.csv", input,
                   folder);
    eval_fails(call, 2, "nothing to predict");
}

int main(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/freshet-eval-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    CASE(strange_log);
    CASE(protocols_differ);
    CASE(intervals_and_options);
    CASE(nothing_to_predict);
    CASE(orders);
    char remove[128];
    (void)snprintf(remove, sizeof(remove), "rm -r %s", folder);
    CHECK_INT(system(remove), 0);
    return 0;
}
