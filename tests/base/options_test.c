/* The options table: types, units, bounds, suggestions, sources, secrets, texts; and the properties syntax under it. */
#include "base/options.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/properties.h"
#include "tests/test.h"

static const struct option_spec specs[] = {
    {"application.id", OPTION_TEXT, NULL, 0, 0, "", NULL, "Who.", "Basics"},
    {"session.window", OPTION_INT, "200", 2, 10000, "events", NULL, "How many.", "Basics"},
    {"cache.max.bytes", OPTION_INT, "64MiB", 1024, 1e12, "bytes", NULL, "How much.", "Memory"},
    {"half.life.ms", OPTION_INT, "7d", 1000, 1e12, "ms", NULL, "How long.", "Memory"},
    {"weight", OPTION_NUMBER, "0.5", 0, 1, "", NULL, "How strong.", "Basics"},
    {"register", OPTION_BOOL, "true", 0, 0, "", NULL, "Whether.", "Basics"},
    {"on.offset.gap", OPTION_ENUM, "fail", 0, 0, "", "fail|accept", "What.", "Basics"},
    {"topics", OPTION_LIST, "a.b", 0, 0, "", NULL, "Which|where.", "Basics"},
    {"weight.add_to_cart", OPTION_NUMBER, "2", 0, 0, "", NULL, "Cart.", "Basics"},
    {"db.password", OPTION_TEXT, "", 0, 0, "", NULL, "Secret.", "Basics"},
    {"http.port", OPTION_INT, "0", 0, 65535, "", NULL, "Where.", "Basics"},
    {"free", OPTION_INT, "0", 0, 0, "", NULL, "Unbounded.", "Basics"},
};
enum { SPECS = sizeof(specs) / sizeof(specs[0]) };

static char folder[] = "/tmp/freshet_options_XXXXXX";

static const char *write_file(const char *name, const char *text, mode_t mode)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK_INT(fwrite(text, 1, strlen(text), file), strlen(text));
    CHECK_INT(fclose(file), 0);
    CHECK_INT(chmod(path, mode), 0);
    return path;
}

static struct options *new_options(void)
{
    struct options *options = options_new(specs, SPECS);
    options_allow_prefix(options, "consumer.");
    options_allow_prefix(options, "sasl.");
    return options;
}

static void test_defaults(void)
{
    struct options *options = new_options();
    CHECK_INT(options_int(options, "session.window"), 200);
    CHECK_INT(options_int(options, "cache.max.bytes"), 64 * 1024 * 1024);
    CHECK_INT(options_int(options, "half.life.ms"), 7LL * 86400000);
    CHECK_NEAR(options_number(options, "weight"), 0.5, 0);
    CHECK_INT(options_bool(options, "register"), true);
    CHECK_INT(options_enum(options, "on.offset.gap"), 0);
    CHECK_STR(options_text(options, "db.password"), "");
    CHECK_STR(options_text(options, "application.id"), "");
    CHECK(!options_is_set(options, "session.window"));
    struct err err = ERR_INIT;
    CHECK_FAIL(options_check(options, &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, "application.id is required");
    CHECK_OK(options_set(options, "application.id", "shop", "--set", &err), err);
    CHECK_OK(options_check(options, &err), err);
    options_free(options);
}

/* Values that are taken, and what they mean; and those that are not. */
static const struct {
    const char *name, *text;
    int64_t want;
} good_values[] = {
    {"session.window", "2", 2},
    {"session.window", " 10000 ", 10000},
    {"cache.max.bytes", "4096", 4096},
    {"cache.max.bytes", "1KiB", 1024},
    {"cache.max.bytes", "3 MiB", 3 << 20},
    {"cache.max.bytes", "2GiB", 2LL << 30},
    {"half.life.ms", "1500", 1500},
    {"half.life.ms", "1500ms", 1500},
    {"half.life.ms", "90s", 90000},
    {"half.life.ms", "5m", 300000},
    {"half.life.ms", "2h", 7200000},
    {"half.life.ms", "1d", 86400000},
    {"free", "-9223372036854775808", INT64_MIN},
    {"free", "9223372036854775807", INT64_MAX},
};
static const struct {
    const char *name, *text;
} bad_values[] = {
    {"session.window", "1"},
    {"session.window", "10001"},
    {"session.window", ""},
    {"session.window", "ten"},
    {"session.window", "10x"},
    {"session.window", "1.5"},
    {"free", "10x"},
    {"free", "1s"},
    {"session.window", "5m"},
    {"cache.max.bytes", "1MB"},
    {"cache.max.bytes", "1023"},
    {"cache.max.bytes", "5m"},
    {"half.life.ms", "1w"},
    {"half.life.ms", "999"},
    {"half.life.ms", "1MiB"},
    {"free", "9223372036854775808"},
    {"cache.max.bytes", "9223372036854775807GiB"},
    {"weight", "1.01"},
    {"weight", "nan"},
    {"weight", "inf"},
    {"weight", "0.5x"},
    {"weight", ""},
    {"register", "yes"},
    {"register", ""},
    {"on.offset.gap", "fai"},
    {"on.offset.gap", "gail"},
    {"on.offset.gap", "fail|accept"},
    {"on.offset.gap", ""},
    {"application.id", ""},
    {"application.id", "  "},
};

static void test_numbers(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof(good_values) / sizeof(good_values[0]); i++) {
        CHECK_OK(options_set(options, good_values[i].name, good_values[i].text, "--set", &err),
                 err);
        CHECK_INT(options_int(options, good_values[i].name), good_values[i].want);
    }
    CHECK_OK(options_set(options, "session.window", "77", "--set", &err), err);
    for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++) {
        if (options_set(options, bad_values[i].name, bad_values[i].text, "here:1", &err)) {
            test_fail(__FILE__, __LINE__, "%s=%s was taken", bad_values[i].name,
                      bad_values[i].text);
        }
        CHECK_INT(err.class, ERR_FATAL);
        CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
        CHECK_CONTAINS(err.text, "here:1: ");
        CHECK_CONTAINS(err.text, bad_values[i].name);
    }
    /* What was refused changed nothing. */
    CHECK_INT(options_int(options, "session.window"), 77);
    CHECK_FAIL(options_set(options, "session.window", "1", "f:3", &err), err, ERR_FATAL);
    CHECK_STR(err.text, "f:3: session.window: expected a whole number from 2 to 10000, not '1'");
    CHECK_FAIL(options_set(options, "half.life.ms", "1", "f:3", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "from 1s to ");
    CHECK_OK(options_set(options, "on.offset.gap", "accept", "--set", &err), err);
    CHECK_INT(options_enum(options, "on.offset.gap"), 1);
    options_free(options);
}

static void test_lists(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    const char *const *items = NULL;
    CHECK_INT(options_list(options, "topics", &items), 1);
    CHECK_STR(items[0], "a.b");
    CHECK_OK(options_set(options, "topics", " one, two ,,three,", "--set", &err), err);
    CHECK_INT(options_list(options, "topics", &items), 3);
    CHECK_STR(items[0], "one");
    CHECK_STR(items[1], "two");
    CHECK_STR(items[2], "three");
    CHECK_OK(options_set(options, "topics", " , ", "--set", &err), err);
    CHECK_INT(options_list(options, "topics", &items), 0);
    options_free(options);
}

static void test_suggestions(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    CHECK_FAIL(options_set(options, "sesion.window", "1", "f:1", &err), err, ERR_FATAL);
    CHECK_STR(err.text, "f:1: unknown option sesion.window; did you mean session.window?");
    CHECK_FAIL(options_set(options, "session-windwo", "1", "f:1", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "did you mean session.window?");
    CHECK_FAIL(options_set(options, "zzzzzz", "1", "f:1", &err), err, ERR_FATAL);
    CHECK_STR(err.text, "f:1: unknown option zzzzzz");
    CHECK_FAIL(options_set(options, "consumer.", "1", "f:1", &err), err, ERR_FATAL);
    options_free(options);
}

struct seen {
    char text[256];
};

static void remember(void *context, const char *key, const char *value)
{
    struct seen *seen = context;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof(seen->text) - n, "%s=%s;", key, value);
}

static void test_prefixes(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    struct seen seen = {""};
    CHECK(!options_is_set(options, "consumer.fetch.min.bytes"));
    CHECK_OK(options_set(options, "consumer.fetch.min.bytes", "1", "f", &err), err);
    CHECK(options_is_set(options, "consumer.fetch.min.bytes"));
    CHECK(!options_is_set(options, "consumer.check.crcs"));
    CHECK_OK(options_set(options, "sasl.username", "u", "f", &err), err);
    CHECK_OK(options_set(options, "consumer.check.crcs", "true", "f", &err), err);
    CHECK_OK(options_set(options, "consumer.fetch.min.bytes", "2", "f", &err), err);
    options_each_prefixed(options, "consumer.", remember, &seen);
    CHECK_STR(seen.text, "fetch.min.bytes=2;check.crcs=true;");
    options_free(options);
}

static void test_environment(void)
{
    static char *const good[] = {"PATH=/bin",
                                 "FRESHET_APPLICATION_ID=shop=1",
                                 "FRESHET_WEIGHT_ADD_TO_CART=3",
                                 "FRESHET_SESSION_WINDOW=9",
                                 "FRESHET_SASL_USERNAME=me",
                                 "FRESHET_CONSUMER_ODD__NAME=x",
                                 "FRESHET_KILL_AT=a:1:1",
                                 "FRESHET_FAIL_AT=a:1:1",
                                 "FRESHET_TEST_BOOTSTRAP=127.0.0.1:9092",
                                 "FRESHET_TEST_WORK=w",
                                 "FRESHET_SERVICE_HOST=10.0.0.1",
                                 "FRESHET_PORT=tcp://10.0.0.1:80",
                                 "FRESHET_KAFKA_SERVICE_PORT_PLAIN=9092",
                                 "FRESHET_KAFKA_PORT_9092_TCP_ADDR=10.0.0.1",
                                 "FRESHET_HTTP_PORT=8080",
                                 NULL};
    static char *const unknown[] = {"FRESHET_APLICATION_ID=shop", NULL};
    static char *const wrong[] = {"FRESHET_SESSION_WINDOW=many", NULL};
    static char *const port[] = {"FRESHET_HTP_PORT=8080", NULL};
    struct options *options = new_options();
    struct err err = ERR_INIT;
    struct seen seen = {""};
    CHECK_OK(options_load_env(options, "FRESHET_", good, &err), err);
    CHECK_STR(options_text(options, "application.id"), "shop=1");
    CHECK_NEAR(options_number(options, "weight.add_to_cart"), 3, 0);
    CHECK_INT(options_int(options, "http.port"), 8080);
    CHECK_FAIL(options_load_env(options, "FRESHET_", port, &err), err, ERR_FATAL);
    CHECK_INT(options_int(options, "session.window"), 9);
    options_each_prefixed(options, "sasl.", remember, &seen);
    options_each_prefixed(options, "consumer.", remember, &seen);
    CHECK_STR(seen.text, "username=me;odd_name=x;");
    CHECK_FAIL(options_load_env(options, "FRESHET_", unknown, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "FRESHET_APLICATION_ID");
    CHECK_CONTAINS(err.text, "application.id");
    CHECK_FAIL(options_load_env(options, "FRESHET_", wrong, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "FRESHET_SESSION_WINDOW: session.window: expected");
    options_free(options);
}

static void test_file(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    const char *path = write_file("good.properties",
                                  "# a shop\n! and more\n\napplication.id = shop\r\n"
                                  "topics: one, \\\n        two\nsession.window 30\n"
                                  "consumer.client.rack=a\\u00e9\\\\b\n",
                                  0644);
    CHECK_OK(options_load_file(options, path, &err), err);
    const char *const *items = NULL;
    CHECK_STR(options_text(options, "application.id"), "shop");
    CHECK_INT(options_list(options, "topics", &items), 2);
    CHECK_STR(items[1], "two");
    CHECK_INT(options_int(options, "session.window"), 30);
    struct seen seen = {""};
    options_each_prefixed(options, "consumer.", remember, &seen);
    CHECK_STR(seen.text, "client.rack=a\xc3\xa9\\b;");

    path = write_file("twice.properties", "session.window=1\\\n1\n#\nweight=1\nsession.window=12\n",
                      0644);
    CHECK_FAIL(options_load_file(options, path, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "twice.properties:5: session.window was already set on line 1");

    path = write_file("wrong.properties", "\n\nsesion.window=1\n", 0644);
    CHECK_FAIL(options_load_file(options, path, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "wrong.properties:3: unknown option sesion.window; did you mean");

    CHECK_FAIL(options_load_file(options, "/nonexistent/x", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "/nonexistent/x");
    CHECK_FAIL(options_load_file(options, folder, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "no regular file");
    options_free(options);
}

static void test_secrets(void)
{
    struct options *options = new_options();
    struct err err = ERR_INIT;
    char value[512];
    const char *path = write_file("secret", "s3cret\n", 0600);
    snprintf(value, sizeof(value), "user:${file:%s}!", path);
    CHECK_OK(options_set(options, "db.password", value, "f:1", &err), err);
    CHECK_STR(options_text(options, "db.password"), "user:s3cret!");

    CHECK_INT(chmod(path, 0640), 0);
    CHECK_FAIL(options_set(options, "db.password", value, "f:1", &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "f:1: db.password: ");
    CHECK_CONTAINS(err.text, "mode 640");
    CHECK_FAIL(options_set(options, "db.password", "${file:relative}", "f", &err), err, ERR_FATAL);
    CHECK_FAIL(options_set(options, "db.password", "${file:/x", "f", &err), err, ERR_FATAL);
    CHECK_FAIL(options_set(options, "db.password", "${file:/nonexistent}", "f", &err), err,
               ERR_FATAL);

    /* Whatever the key: what came from such a file is shown in no error. */
    CHECK_INT(chmod(path, 0600), 0);
    snprintf(value, sizeof(value), "${file:%s}", path);
    CHECK_FAIL(options_set(options, "session.window", value, "f:1", &err), err, ERR_FATAL);
    CHECK(strstr(err.text, "s3cret") == NULL);

    CHECK_STR(options_redacted("sasl.password", "x"), "(hidden)");
    CHECK_STR(options_redacted("consumer.SASL.JAAS.config", "x"), "(hidden)");
    CHECK_STR(options_redacted("ssl.key.pem", "x"), "(hidden)");
    CHECK_STR(options_redacted("oauth.client.secret", "x"), "(hidden)");
    CHECK_STR(options_redacted("basic.auth.user.info", "x"), "(hidden)");
    CHECK_STR(options_redacted("application.id", "x"), "x");

    struct buf text;
    buf_init(&text, 1 << 16);
    options_print(options, &text);
    buf_push_byte(&text, 0);
    CHECK_CONTAINS((const char *)text.data, "db.password = (hidden)  # f:1");
    CHECK(strstr((const char *)text.data, "s3cret") == NULL);
    buf_fini(&text);
    options_free(options);
}

/* A secret comes from a file of its own or from the environment. */
static void test_secrets_are_kept_aside(void)
{
    static char *const environment[] = {"FRESHET_DB_PASSWORD=hunter2", NULL};
    static const char *const aside[] = {"db.password",
                                        "sasl.password",
                                        "ssl.key.pem",
                                        "consumer.ssl.keystore.password",
                                        "sasl.oauthbearer.client.secret",
                                        "http.token",
                                        "basic.auth.user.info",
                                        "sasl.oauthbearer.config"};
    static const char *const public[] = {"ssl.ca.pem", "ssl.certificate.pem", "ssl.key.location",
                                         "sasl.oauthbearer.token.endpoint.url", "sasl.username"};
    struct options *options = new_options();
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof(aside) / sizeof(*aside); i++)
        CHECK(options_is_kept_aside(aside[i]));
    for (size_t i = 0; i < sizeof(public) / sizeof(*public); i++)
        CHECK(!options_is_kept_aside(public[i]));
    CHECK_FAIL(options_set(options, "db.password", "hunter2", "--set", &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, "--set: db.password is a secret");
    CHECK_CONTAINS(err.text, "db.password=${file:");
    CHECK(strstr(err.text, "hunter2") == NULL);
    CHECK_FAIL(options_set(options, "sasl.password", "hunter2", "f:3", &err), err, ERR_FATAL);
    CHECK(strstr(err.text, "hunter2") == NULL);
    CHECK_OK(options_set(options, "db.password", "", "f:1", &err), err);
    CHECK_OK(options_load_env(options, "FRESHET_", environment, &err), err);
    CHECK_STR(options_text(options, "db.password"), "hunter2");
    options_free(options);
}

static void test_secret_files(void)
{
    struct err err = ERR_INIT;
    static const mode_t open_modes[] = {0601, 0602, 0604, 0610, 0620, 0640, 0660, 0700, 0777};
    char fifo[512];
    const char *path = write_file("key", "k", 0600);
    CHECK_OK(options_secret_file_check(path, &err), err);
    CHECK_INT(chmod(path, 0400), 0);
    CHECK_OK(options_secret_file_check(path, &err), err);
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(*open_modes); i++) {
        CHECK_INT(chmod(path, open_modes[i]), 0);
        CHECK_FAIL(options_secret_file_check(path, &err), err, ERR_FATAL);
        CHECK_CONTAINS(err.text, "chmod 600");
    }
    snprintf(fifo, sizeof(fifo), "%s/pipe", folder);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    CHECK_FAIL(options_secret_file_check(fifo, &err), err, ERR_FATAL); /* and at once */
    CHECK_INT(remove(fifo), 0);
    CHECK_INT(remove(path), 0);
    CHECK_FAIL(options_secret_file_check("/nonexistent", &err), err, ERR_FATAL);
}

/* What is wiped is gone from the bytes that held it. */
static void test_wipe(void)
{
    char text[] = "hunter2";
    mem_wipe(text, 6);
    CHECK_BYTES(text, sizeof(text),
                "\0\0\0\0\0\0"
                "2",
                8);
    mem_free_text(NULL);
    mem_free_text(mem_strdup("x"));
}

static void test_texts(void)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    options_help(specs, SPECS, true, &text);
    buf_push_byte(&text, 0);
    CHECK_CONTAINS((const char *)text.data, "  --application.id TEXT  (required)\n");
    CHECK_CONTAINS((const char *)text.data,
                   "  --session.window N  (default 200, from 2 to 10000)\n");
    CHECK_CONTAINS((const char *)text.data, "  --register  (default true)\n");
    buf_reset(&text);
    options_markdown(specs, SPECS, &text);
    buf_push_byte(&text, 0);
    CHECK_CONTAINS((const char *)text.data, "## Memory\n");
    CHECK_CONTAINS((const char *)text.data,
                   "| `on.offset.gap` | `fail` | `fail`, `accept` | What. |\n");
    CHECK_CONTAINS((const char *)text.data, "Which\\|where.");
    buf_fini(&text);
}

/* ---- the syntax, against what java.util.Properties reads ---- */

static bool collect(void *context, const struct properties_entry *entry, struct err *err)
{
    struct buf *out = context;
    (void)err;
    buf_push_format(out, "%d[%s][%s]", entry->line, entry->key, entry->value);
    return true;
}

static void test_syntax(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"# only", ""},
        {"a=b", "1[a][b]"},
        {"a:b", "1[a][b]"},
        {"a b", "1[a][b]"},
        {"a", "1[a][]"},
        {"a=", "1[a][]"},
        {"  a  =  b c  ", "1[a][b c]"},
        {"a = = b", "1[a][= b]"},
        {"a\\ b=c", "1[a b][c]"},
        {"a\\:b\\=c=d", "1[a:b=c][d]"},
        {"a=\\t\\n\\x\\\\", "1[a][\t\nx\\]"},
        {"a=b\\\n   c\\\r\n\td\ne=f", "1[a][bcd]4[e][f]"},
        {"a=b\\\\\nc=d", "1[a][b\\]2[c][d]"},
        {"a=b\\", "1[a][b]"},
        {"a=b\\\n#c\n", "1[a][b#c]"},
        {"\r\n\n\ra=b", "4[a][b]"},
        {"a=\\u0041\\uD83D\\uDE00", "1[a][A\xf0\x9f\x98\x80]"},
        {"\xef\xbb\xbf"
         "a=b",
         "1[a][b]"},
        {"a=b\\ ", "1[a][b ]"},
        {"#x\\\na=b", "2[a][b]"},
    };
    static const char *const bad[] = {
        "=b",           "a=\\u00g0",        "a=\\u12",   "a=\\uD83D", "a=\\uD83Dxx",
        "a=\\uDE00\\n", "a=\\uD83D\\u0041", "a=\\u0000", "a=\xff"};
    struct buf out;
    struct err err = ERR_INIT;
    buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_reset(&out);
        CHECK_OK(properties_parse(str_of(cases[i].text), "f", collect, &out, &err), err);
        buf_push_byte(&out, 0);
        CHECK_STR((const char *)out.data, cases[i].want);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (properties_parse(str_of(bad[i]), "f", collect, &out, &err)) {
            test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
        }
        CHECK_CONTAINS(err.text, "f:1: ");
    }
    CHECK_FAIL(properties_parse((struct str){"a=\0b", 4}, "f", collect, &out, &err), err,
               ERR_FATAL);
    buf_fini(&out);
}

static void remove_folder(void)
{
    static const char *const names[] = {"good.properties", "twice.properties", "wrong.properties",
                                        "secret"};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    CHECK_INT(rmdir(folder), 0);
}

int main(void)
{
    CHECK(mkdtemp(folder) != NULL);
    CASE(test_defaults);
    CASE(test_numbers);
    CASE(test_lists);
    CASE(test_suggestions);
    CASE(test_prefixes);
    CASE(test_environment);
    CASE(test_file);
    CASE(test_secrets);
    CASE(test_secrets_are_kept_aside);
    CASE(test_secret_files);
    CASE(test_wipe);
    CASE(test_texts);
    CASE(test_syntax);
    remove_folder();
    return 0;
}
