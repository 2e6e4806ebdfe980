/* The configuration's table: it is sound, and docs/OPTIONS.md is what it says.
 *
 *   app_config_test            fails when the page is stale
 *   app_config_test --write    writes the page */
#include "app/config.h"

#include <ctype.h>

#include "app/app.h"
#include "schemas/schemas.h"
#include "tests/test.h"

static const char page_path[] = FRESHET_SOURCE_DIR "/docs/OPTIONS.md";

static const char opening[] =
    "# Options\n"
    "\n"
    "Written from the table in `app/config.c` by `app_config_test --write`; a test fails when this "
    "page is stale.\n"
    "\n"
    "- `--config FILE` reads a Java-style properties file: `key = value`, `#` comments, `\\` at "
    "the end of a line to go on.\n"
    "  A key that stands twice in one file is an error, and so is an unknown one.\n"
    "- `FRESHET_APPLICATION_ID=shop` in the environment sets `application.id`: upper case, `_` for "
    "`.`.\n"
    "- `--set key=value` sets one. The later wins: defaults, files, environment, `--set`.\n"
    "- Sizes take `KiB`, `MiB`, `GiB`; times take `ms`, `s`, `m`, `h`, `d`; without a suffix they "
    "are bytes and milliseconds.\n"
    "- `${file:/path}` in a value stands for that file's content. The file must be readable by its "
    "owner alone\n"
    "  (`chmod 600`), and so must `ssl.key.location` and `ssl.keystore.location`. Passwords, "
    "tokens and private "
    "keys come from such a\n"
    "  file or from the environment: written out in a file of options or in `--set` they are "
    "refused. None is "
    "ever logged.\n"
    "- Keys under `consumer.` and `producer.` (prefix taken off) and under `security.`, "
    "`sasl.` and `ssl.` (whole)\n"
    "  go to librdkafka as they are. Those that would run code or break a promise of freshet are "
    "refused at start.\n"
    "\n";

static void make_page(struct buf *page)
{
    buf_push_text(page, opening);
    options_markdown(app_config_specs, app_config_count, page);
}

static void write_page(void)
{
    struct buf page;
    buf_init(&page, 1 << 20);
    make_page(&page);
    FILE *file = fopen(page_path, "wb");
    CHECK(file != NULL);
    CHECK_INT(fwrite(page.data, 1, page.len, file), page.len);
    CHECK_INT(fclose(file), 0);
    buf_fini(&page);
}

static void test_page_is_fresh(void)
{
    static char have[1 << 20];
    FILE *file = fopen(page_path, "rb");
    CHECK(file != NULL);
    size_t n = fread(have, 1, sizeof(have), file);
    fclose(file);
    struct buf page;
    buf_init(&page, 1 << 20);
    make_page(&page);
    if (n != page.len || memcmp(have, page.data, n) != 0) {
        test_fail(page_path, 1, "the page is stale: run app_config_test --write");
    }
    buf_fini(&page);
}

/* Every option has a help text and a group, and no two can be meant by one variable. */
static void test_table(void)
{
    char names[256][96];
    CHECK(app_config_count < 256);
    for (size_t i = 0; i < app_config_count; i++) {
        const struct option_spec *spec = &app_config_specs[i];
        CHECK(spec->help[0] != '\0' && spec->group[0] != '\0' && strlen(spec->name) < 64);
        CHECK(spec->min <= spec->max);
        size_t n = 0;
        for (const char *c = spec->name; *c; c++) {
            names[i][n++] = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
        }
        names[i][n] = '\0';
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(names[i], names[j]) != 0);
    }
}

/* The defaults are what docs/STATE.md and the design say; a prefix takes librdkafka's keys. */
static void test_values(void)
{
    struct options *options = options_new(app_config_specs, app_config_count);
    struct err err = ERR_INIT;
    app_config_prefixes(options);
    CHECK_FAIL(options_check(options, &err), err, ERR_FATAL);
    CHECK_OK(options_set(options, "application.id", "shop", "test", &err), err);
    CHECK_OK(options_check(options, &err), err);
    CHECK_INT(options_int(options, "session.window"), 200);
    CHECK_INT(options_int(options, "list.size"), 20);
    CHECK_INT(options_int(options, "commit.interval.ms"), 1000);
    CHECK_INT(options_int(options, "popularity.half.life.ms"), 604800000);
    CHECK_INT(options_int(options, "session.timeout.ms"), 45000);
    CHECK_NEAR(options_number(options, "blend.popularity.weight"), 0.03, 0);
    CHECK_OK(options_set(options, "ssl.ca.location", "/ca.pem", "test", &err), err);
    CHECK_OK(options_set(options, "consumer.fetch.wait.max.ms", "10", "test", &err), err);
    CHECK_FAIL(options_set(options, "group.id", "x", "test", &err), err, ERR_FATAL);
    CHECK_FAIL(options_set(options, "list.size", "65", "test", &err), err, ERR_FATAL);
    options_free(options);
}

/* The file that packages install is read whole and is complete. */
static void test_shipped_file(void)
{
    struct options *options = options_new(app_config_specs, app_config_count);
    struct err err = ERR_INIT;
    app_config_prefixes(options);
    CHECK_OK(options_load_file(options, FRESHET_SOURCE_DIR "/deploy/freshet.properties", &err),
             err);
    CHECK_OK(options_check(options, &err), err);
    options_free(options);
}

/* Every event type has its weight, and nothing else has one. */
static void test_weights(void)
{
    struct options *options = options_new(app_config_specs, app_config_count);
    char name[96];
    int found = 0;
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        snprintf(name, sizeof(name), "event.weight.%s",
                 schemas_event_type_name((enum event_type)type));
        CHECK(options_number(options, name) >= 0);
    }
    for (size_t i = 0; i < app_config_count; i++) {
        found += strncmp(app_config_specs[i].name, "event.weight.", 13) == 0;
    }
    CHECK_INT(found, EVENT_TYPE_COUNT);
    options_free(options);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        write_page();
        return 0;
    }
    CASE(test_table);
    CASE(test_values);
    CASE(test_weights);
    CASE(test_shipped_file);
    CASE(test_page_is_fresh);
    return 0;
}
