/* LINK:rdkafka*/
/* A real broker goes away and comes back under the producer, gently and by SIGKILL: every record is acknowledged, and each
 * arrives once and in order. The records carry the time of day, as lists do: a broker that starts forgets producers whose last
 * record is older than a day by its own timestamp (producer.id.expiration.ms), and takes a batch that is sent again for a new one.
 * The broker is this test's own (scripts/kafka), since others use the shared one. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"
#include "tests/emit/support.h"

enum { START_TRIES = 10, FORCED = 3 /* scripts/kafka stop: it took SIGKILL */ };

static char folder[64], bootstrap[64];

static int script(const char *verb)
{
    char command[512];
    (void)snprintf(command, sizeof command, "'%s/scripts/kafka' %s --dir '%s' >'%s/out' 2>'%s/err'",
                   FRESHET_SOURCE_DIR, verb, folder, folder, folder);
    return system(command);
}

/* Whatever happens, the broker ends with the test. */
static void clean_up(void)
{
    char command[128];
    (void)script("kill");
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    (void)!system(command);
}

static void address_read(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/out", folder);
    FILE *file = fopen(path, "r");
    CHECK(file);
    CHECK(fgets(bootstrap, sizeof bootstrap, file));
    (void)fclose(file);
    bootstrap[strcspn(bootstrap, "\n")] = '\0';
}

static void complaint_print(void)
{
    char path[128], line[256];
    (void)snprintf(path, sizeof path, "%s/err", folder);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        (void)fprintf(stderr, "  scripts/kafka: %s", line);
    if (file) (void)fclose(file);
}

static void check_order(void *context, rd_kafka_message_t *message)
{
    int *next = context;
    char want[32];
    (void)snprintf(want, sizeof want, "list %d", (*next)++);
    CHECK_BYTES(message->payload, message->len, want, strlen(want));
}

struct restarter {
    const char *first, *second;
    struct flag done;
};

static void restart_run(void *context)
{
    struct restarter *restarter = context;
    int status = script(restarter->first);
    if (status != 0) complaint_print();
    CHECK(status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == FORCED));
    /* Its port may be taken for a moment by somebody's outgoing connection. */
    status = script(restarter->second);
    for (int i = 0; i < START_TRIES && status != 0; i++) {
        sync_sleep_ms(1000);
        status = script(restarter->second);
    }
    if (status != 0) complaint_print();
    CHECK_INT(status, 0);
    flag_raise(&restarter->done);
}

static void each_arrives_once_and_in_order(const char *down, const char *up)
{
    struct err err = ERR_INIT;
    struct cluster cluster = {.config = {.bootstrap_servers = bootstrap}};
    struct emit_options options = {
        .recommendations_topic = "", .dlq_topic = "letters", .queue_bytes = 8 * 1024 * 1024};
    struct restarter restarter = {.first = down, .second = up};
    struct clock clock = {0};
    struct thread thread;
    struct emit *emit;
    char lists[64];
    int n = 0, next = 0;
    (void)snprintf(lists, sizeof lists, "lists-%" PRIu64, clock_mono_ns());
    const struct kafka_topic_spec specs[] = {{lists, 1, 1, false, 0, 0},
                                             {"letters", 1, 1, false, 0, 0}};
    options.recommendations_topic = lists;
    CHECK_OK(kafka_topics_create(&cluster.config, specs, 2, 30000, &err), err);
    CHECK_OK(emit_open(&emit, &cluster.config, &options, &err), err);
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK_OK(thread_start(&thread, "restart", restart_run, &restarter, &err), err);
    while (!flag_is_raised(&restarter.done) || n % 100) {
        char value[32];
        (void)snprintf(value, sizeof value, "list %d", n);
        CHECK_OK(emit_send(emit, epoch, EMIT_RECOMMENDATIONS, STR("u"), str_of(value),
                           (struct emit_source){"clicks", 0, n}, clock_wall_ms(&clock), &err),
                 err);
        n++;
        sync_sleep_ms(1);
    }
    thread_join(&thread);
    CHECK_INT(epoch_await(epoch, 60000, &err), EMIT_ACKED);
    emit_epoch_free(epoch);
    emit_close(emit);
    cluster_read(&cluster, lists, 0, -1, check_order, &next);
    CHECK_INT(next, n);
    printf("  %s: %d records\n", down, n);
}

int main(void)
{
    const char *shared = getenv("FRESHET_TEST_BOOTSTRAP");
    if (!shared || !shared[0]) {
        printf("SKIP FRESHET_TEST_BOOTSTRAP is not set: it says that brokers can run here\n");
        return 77;
    }
    (void)snprintf(folder, sizeof folder, "/tmp/freshet-restart-XXXXXX");
    CHECK(mkdtemp(folder));
    CHECK_INT(atexit(clean_up), 0);
    CHECK_INT(script("start"), 0);
    address_read();
    each_arrives_once_and_in_order("stop", "start");
    each_arrives_once_and_in_order("kill", "start");
    return 0;
}
