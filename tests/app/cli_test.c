/* The command line as a person or a script meets it: exit codes, messages, order of the
 * configuration's sources. */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/app/program.h"

static char folder[64];

static int call(const char *environment, const char *arguments)
{
    return program_call(folder, environment, arguments);
}

static void expect(const char *arguments, int code, const char *part)
{
    int got = call("", arguments);
    if (got != code) fprintf(stderr, "freshet %s:\n%s", arguments, program_output);
    CHECK_INT(got, code);
    CHECK_CONTAINS(program_output, part);
}

/* ---- help ---- */

static void help_teaches(void)
{
    expect("--help", 0, "Usage: freshet VERB");
    CHECK_CONTAINS(program_output, "simulate");
    CHECK_CONTAINS(program_output, "import");
    CHECK_CONTAINS(program_output, "topics");
    expect("", ERR_EXIT_USAGE, "Usage: freshet VERB");
    expect("--version", 0, "freshet " FRESHET_VERSION);
    expect("simulate --help", 0, "--duplicates");
    CHECK_CONTAINS(program_output, "Usage: freshet simulate");
    CHECK_CONTAINS(program_output, "Configuration (");
    expect("help import", 0, "--skip-items");
    expect("help config", 0, "bootstrap.servers");
}

/* Every verb of the overview has a help of its own. */
static void every_verb_has_help(void)
{
    static char overview[PROGRAM_OUTPUT_MAX];
    int verbs = 0;
    CHECK_INT(call("", "--help"), 0);
    memcpy(overview, program_output, sizeof(overview));
    for (char *line = overview; line; line = strchr(line, '\n')) {
        char name[32], arguments[64], usage[64];
        line += *line == '\n';
        if (strncmp(line, "More", 4) == 0) break;
        if (sscanf(line, "  %31[a-z] ", name) != 1 || strncmp(line, "  ", 2) != 0) continue;
        (void)snprintf(arguments, sizeof(arguments), "%s --help", name);
        (void)snprintf(usage, sizeof(usage), "Usage: freshet %s", name);
        expect(arguments, 0, usage);
        verbs++;
    }
    CHECK(verbs >= 7);
}

/* ---- mistakes ---- */

static void mistakes_are_told_once(void)
{
    expect("simulte", ERR_EXIT_USAGE, "did you mean 'simulate'?");
    expect("frobnicate", ERR_EXIT_USAGE, "unknown verb 'frobnicate'");
    CHECK(strstr(program_output, "did you mean") == NULL);
    expect("simulate --evnts 3", ERR_EXIT_USAGE, "events");
    CHECK(strstr(program_output, "freshet: ") == program_output);
    CHECK(strchr(program_output, '\n') ==
          program_output + strlen(program_output) - 1); /* one line */
    expect("simulate --events", ERR_EXIT_USAGE, "--events needs a value");
    expect("simulate --events many", ERR_EXIT_USAGE, "many");
    expect("simulate --events 0", ERR_EXIT_USAGE, "events");
    expect("simulate -n 3", ERR_EXIT_USAGE, "two dashes");
    expect("simulate loose", ERR_EXIT_USAGE, "'loose' belongs to no flag");
    expect("eval --fusion maybe --input no.csv", ERR_EXIT_USAGE, "'maybe' belongs");
    expect("eval --fusion false --protocol sasrec --input no.csv", ERR_EXIT_USAGE, "no.csv");
    expect("eval --fusion=maybe --input no.csv", ERR_EXIT_USAGE, "fusion");
    expect("simulate --set nonsense", ERR_EXIT_USAGE, "key=value");
    expect("simulate --set bootstap.servers=x", ERR_EXIT_USAGE, "bootstrap.servers");
    expect("import", ERR_EXIT_USAGE, "--input is required; --help");
    expect("topics", ERR_EXIT_USAGE, "topics create");
    expect("query", ERR_EXIT_USAGE, "query user ID");
    expect("validate", ERR_EXIT_USAGE, "application.id");
    expect("run --set application.id=a --set http.listen=8080", ERR_EXIT_USAGE,
           "http.listen: \"8080\" is no address to listen on");
}

/* ---- the configuration's sources: file, then environment, then --set ---- */

static void later_sources_win(void)
{
    char config[128];
    (void)snprintf(config, sizeof(config), "%s/shop.properties", folder);
    FILE *file = fopen(config, "w");
    CHECK(file != NULL);
    fprintf(file, "application.id=from-file\nstate.dir=%s/none\n", folder);
    CHECK_INT(fclose(file), 0);
    /* The store that is missing is named by its path, which ends in the application's name. */
    CHECK_INT(call("", "query position --config shop.properties"), ERR_EXIT_STORE);
    CHECK_CONTAINS(program_output, "none/from-file");
    CHECK_INT(call("FRESHET_APPLICATION_ID=from-env", "query position --config shop.properties"),
              ERR_EXIT_STORE);
    CHECK_CONTAINS(program_output, "none/from-env");
    CHECK_INT(call("FRESHET_APPLICATION_ID=from-env",
                   "query position --set application.id=from-set --config shop.properties"),
              ERR_EXIT_STORE);
    CHECK_CONTAINS(program_output, "none/from-set");
    expect("run shop.properties", ERR_EXIT_USAGE, "--config shop.properties reads it");
    CHECK_INT(call("FRESHET_APPLICATIN_ID=x", "query position --config shop.properties"),
              ERR_EXIT_USAGE);
    expect("query position --config missing.properties", ERR_EXIT_USAGE, "missing.properties");
    CHECK_INT(unlink(config), 0);
}

/* ---- files ---- */

static size_t file_bytes(const char *name, char *bytes, size_t size)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t n = fread(bytes, 1, size, file);
    CHECK_INT(fclose(file), 0);
    CHECK_INT(unlink(path), 0);
    return n;
}

static void simulate_writes_the_same_file_twice(void)
{
    enum { SIZE = 1 << 21 };
    static char first[SIZE], second[SIZE];
    const char *faults = "simulate --events 2000 --seed 5 --to none --poison 0.02 --duplicates 0.1 "
                         "--late 0.1 --flat f.jsonl";
    expect("simulate --events 2000 --seed 5 --to a.csv --format events", 0,
           "simulated 2000 events");
    expect("simulate --events 2000 --seed 5 --to b.csv --format events", 0,
           "simulated 2000 events");
    size_t n = file_bytes("a.csv", first, SIZE);
    size_t m = file_bytes("b.csv", second, SIZE);
    CHECK(n > 2000 * 20);
    CHECK_BYTES(first, n, second, m);
    CHECK_INT(call("", faults), 0);
    CHECK_CONTAINS(program_output, "duplicates");
    n = file_bytes("f.jsonl", first, SIZE);
    CHECK_INT(call("", faults), 0);
    m = file_bytes("f.jsonl", second, SIZE);
    CHECK_BYTES(first, n, second, m);
}

static void import_reads_what_simulate_writes(void)
{
    expect("simulate --events 3000 --to s.tsv.gz --format sessions", 0, "simulated 3000 events");
    expect("import --input s.tsv.gz --format sessions --type view --to none", 0, "rows");
    expect("simulate --events 3000 --to s.lines.gz --format lines", 0, "simulated 3000 events");
    expect("import --input s.lines.gz --format lines --type view --to none", 0, "rows");
    CHECK_CONTAINS(program_output, "view");
    CHECK(strstr(program_output, "left out") == NULL);
    expect("simulate --events 3000 --to e.csv --format events", 0, "simulated 3000 events");
    expect("import --input e.csv --to none", 0, "purchase");
    CHECK(strstr(program_output, "left out") == NULL);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/s.tsv.gz", folder);
    CHECK_INT(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/s.lines.gz", folder);
    CHECK_INT(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/e.csv", folder);
    CHECK_INT(unlink(path), 0);
}

static void odd_ids_survive_csv(void)
{
    static const char row[] = "u 1,\"a, \"\"b\"\"\",view,1430623510000,,1,2.50\n";
    char content[512];
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/odd.csv", folder);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fprintf(file, "user,item,event,time,order,quantity,price\n%s", row);
    CHECK_INT(fclose(file), 0);
    expect("import --input odd.csv --to again.csv --value-format events", 0, "1 events");
    content[file_bytes("again.csv", content, sizeof(content) - 1)] = '\0';
    CHECK_CONTAINS(content, row);
    CHECK_INT(unlink(path), 0);
}

static void targets_that_cannot_be(void)
{
    expect("simulate --to nowhere/at/all.json", ERR_EXIT_USAGE, "nowhere/at/all.json");
    expect("simulate --to x.csv --format avro", ERR_EXIT_USAGE, "--format avro is for topics");
    expect("simulate --format events", ERR_EXIT_USAGE, "for files");
    expect("simulate --to none --rate 10 --speed 2", ERR_EXIT_USAGE, "--rate and --speed");
    expect("simulate --set bootstrap.servers=embedded", ERR_EXIT_USAGE, "freshet demo");
    expect("simulate --to none --start tomorrow", ERR_EXIT_USAGE, "tomorrow");
    expect("import --input missing.csv --to none", ERR_EXIT_USAGE, "missing.csv");
}

int main(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/freshet-cli-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    CASE(help_teaches);
    CASE(every_verb_has_help);
    CASE(mistakes_are_told_once);
    CASE(later_sources_win);
    CASE(simulate_writes_the_same_file_twice);
    CASE(import_reads_what_simulate_writes);
    CASE(odd_ids_survive_csv);
    CASE(targets_that_cannot_be);
    CHECK_INT(rmdir(folder), 0);
    return 0;
}
