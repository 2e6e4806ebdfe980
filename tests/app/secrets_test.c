/* Planted secrets are nowhere in what the program says: output, errors, help, metrics, state. */
#include "tests/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/app/program.h"

/* One text in all secrets: where it turns up, one was shown. */
#define PLANTED "pl4nt3d-S3cret"

static char folder[64];

/* Secrets of every kind, by the environment. */
static const char environment[] =
    "FRESHET_APPLICATION_ID=shop FRESHET_STATE_DIR=state "
    "FRESHET_BASIC_AUTH_USER_INFO=me:" PLANTED " FRESHET_HTTP_TOKEN=" PLANTED
    " FRESHET_SASL_PASSWORD=" PLANTED " FRESHET_SASL_OAUTHBEARER_CONFIG=" PLANTED
    " FRESHET_SSL_KEY_PASSWORD=" PLANTED " FRESHET_CONSUMER_SSL_KEYSTORE_PASSWORD=" PLANTED
    " FRESHET_SECURITY_PROTOCOL=sasl_plaintext FRESHET_SASL_MECHANISMS=PLAIN"
    " FRESHET_SASL_USERNAME=me FRESHET_CONSUMER_DEBUG=all FRESHET_PRODUCER_DEBUG=all "
    "FRESHET_DEBUG=all FRESHET_LOG_LEVEL=debug";

static void write_file(const char *name, const char *text, mode_t mode)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(chmod(path, mode), 0);
}

/* Runs it; what it says holds `part` and no secret. */
static void expect(const char *settings, const char *arguments, int code, const char *part)
{
    int got = program_call(folder, settings, arguments);
    if (got != code || !strstr(program_output, part))
        fprintf(stderr, "freshet %s:\n%s", arguments, program_output);
    CHECK_INT(got, code);
    CHECK_CONTAINS(program_output, part);
    if (strstr(program_output, PLANTED))
        test_fail(__FILE__, __LINE__, "freshet %s shows a secret:\n%s", arguments, program_output);
}

/* ---- refused, without a word of it ---- */

static void refusals_do_not_show_it(void)
{
    char arguments[1024];
    static const char *const inlined[] = {
        "http.token=" PLANTED,
        "sasl.password=" PLANTED,
        "basic.auth.user.info=me:" PLANTED,
        "consumer.ssl.key.password=" PLANTED,
        "producer.sasl.oauthbearer.client.secret=" PLANTED,
        "ssl.key.pem=" PLANTED,
    };
    for (size_t i = 0; i < sizeof inlined / sizeof inlined[0]; i++) {
        (void)snprintf(arguments, sizeof arguments, "run --set application.id=shop --set %s",
                       inlined[i]);
        expect("", arguments, ERR_EXIT_USAGE, "is a secret and must not be written out here");
    }
    write_file("inline.properties", "application.id=shop\nsasl.password=" PLANTED "\n", 0600);
    expect("", "validate --config inline.properties", ERR_EXIT_USAGE,
           "inline.properties:2: sasl.p");
    expect("", "run --set application.id=shop --set schema.registry.url=http://me:" PLANTED "@x:1",
           ERR_EXIT_USAGE, "set basic.auth.user.info=${file:");
    expect("FRESHET_CONSUMER_OAUTHBEARER__TOKEN__REFRESH__CB=" PLANTED,
           "run --set application.id=shop", ERR_EXIT_USAGE, "(hidden)");
}

/* A file with a secret, named where something else belongs, and read by all. */
static void files_are_not_shown(void)
{
    char arguments[1024], path[256];
    (void)snprintf(path, sizeof path, "%s/secret", folder);
    write_file("secret", PLANTED "\n", 0600);
    (void)snprintf(arguments, sizeof arguments,
                   "run --set application.id=shop --set 'list.size=${file:%s}'", path);
    expect("", arguments, ERR_EXIT_USAGE, "list.size: expected");
    CHECK_INT(chmod(path, 0640), 0);
    (void)snprintf(arguments, sizeof arguments,
                   "run --set application.id=shop --set 'http.token=${file:%s}'", path);
    expect("", arguments, ERR_EXIT_USAGE, "chmod 600");
    (void)snprintf(arguments, sizeof arguments,
                   "run --set application.id=shop --set ssl.key.location=%s", path);
    expect("", arguments, ERR_EXIT_USAGE, "chmod 600");
}

/* ---- accepted ---- */

static void validate_and_help_do_not_show_it(void)
{
    expect(
        environment,
        "validate --set bootstrap.servers=127.0.0.1:1 --set schema.registry.url=http://127.0.0.1:1",
        ERR_EXIT_UNREACHABLE, "problem  registry");
    expect(environment, "help config", 0, "http.token");
    expect(environment, "run --help", 0, "Usage: freshet run");
}

/* No file under the folder holds it. */
static void search(const char *path)
{
    struct stat status;
    CHECK_INT(stat(path, &status), 0);
    if (S_ISDIR(status.st_mode)) {
        DIR *dir = opendir(path);
        CHECK(dir != NULL);
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            char inner[1024];
            if (entry->d_name[0] == '.') continue;
            (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            search(inner);
        }
        (void)closedir(dir);
        return;
    }
    size_t len = (size_t)status.st_size, want = sizeof PLANTED - 1;
    char *bytes = mem_alloc(len + 1);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    len = fread(bytes, 1, len, file);
    (void)fclose(file);
    for (size_t i = 0; i + want <= len; i++)
        if (memcmp(bytes + i, PLANTED, want) == 0)
            test_fail(__FILE__, __LINE__, "%s holds a secret", path);
    mem_free(bytes);
}

/* A whole run, everything logged: output, metrics file, state. */
static void a_run_does_not_show_it(void)
{
    char path[256];
    expect("FRESHET_HTTP_TOKEN=" PLANTED " FRESHET_BASIC_AUTH_USER_INFO=me:" PLANTED
           " FRESHET_CONSUMER_SSL_KEY_PASSWORD=" PLANTED " FRESHET_PRODUCER_SASL_PASSWORD=" PLANTED
           " FRESHET_CONSUMER_SASL_OAUTHBEARER_CONFIG=" PLANTED

           " FRESHET_CONSUMER_DEBUG=all FRESHET_PRODUCER_DEBUG=all",
           "demo --seconds 3 --past 1000 --items 50 --users 20 --rate 20 --plain --debug all "
           "--log-level debug --set http.listen=127.0.0.1:0 --set "
           "metrics.file=metrics.prom",
           0, "");
    (void)snprintf(path, sizeof path, "%s/metrics.prom", folder);
    CHECK_INT(access(path, R_OK), 0);
    (void)snprintf(path, sizeof path, "%s/secret", folder);
    CHECK_INT(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/inline.properties", folder);
    CHECK_INT(unlink(path), 0);
    search(folder);
}

int main(void)
{
    char command[128];
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-secrets-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    CASE(refusals_do_not_show_it);
    CASE(files_are_not_shown);
    CASE(validate_and_help_do_not_show_it);
    CASE(a_run_does_not_show_it);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_INT(system(command), 0);
    return 0;
}
