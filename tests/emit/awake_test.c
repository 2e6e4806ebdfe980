/* LINK: rdkafka */
/* A producer that stood still, or whose records became old: nothing more goes out, and a new one goes on. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sync.h"
#include "tests/emit/support.h"

enum { SESSION_MS = 4000, STILL_MS = SESSION_MS / 2, AGE_MS = SESSION_MS * 3 / 4 };

static const struct emit_options OPTIONS = {.recommendations_topic = "lists",
                                            .dlq_topic = "letters",
                                            .queue_bytes = 8 * 1024 * 1024,
                                            .session_ms = SESSION_MS};

static struct emit *emit_start(struct cluster *cluster)
{
    struct emit *emit;
    struct err err = ERR_INIT;
    cluster_start(cluster, 1);
    if (!emit_open(&emit, &cluster->config, &OPTIONS, &err))
        test_fail(__FILE__, __LINE__, "%s", err.text);
    return emit;
}

static bool list_send(struct emit *emit, struct emit_epoch *epoch, const char *text,
                      struct err *err)
{
    static const struct emit_source source = {.topic = "events"};
    return emit_send(emit, epoch, EMIT_RECOMMENDATIONS, STR("user"), str_of(text), source, 0, err);
}

/* An epoch whose first list is acknowledged. */
static struct emit_epoch *first_send(struct emit *emit)
{
    struct err err = ERR_INIT;
    struct emit_epoch *epoch = emit_epoch_new(emit);
    CHECK(list_send(emit, epoch, "first", &err));
    CHECK_INT(epoch_await(epoch, 10000, &err), EMIT_ACKED);
    return epoch;
}

/* A new client takes records and has them acknowledged. */
static void goes_on(struct emit *emit, struct emit_epoch *epoch)
{
    struct err err = ERR_INIT;
    if (!emit_renew(emit, &err)) test_fail(__FILE__, __LINE__, "%s", err.text);
    emit_epoch_reset(epoch);
    CHECK(emit_check(emit, &err));
    CHECK(list_send(emit, epoch, "again", &err));
    CHECK_INT(epoch_await(epoch, 10000, &err), EMIT_ACKED);
}

static void value_note(void *context, rd_kafka_message_t *message)
{
    char *all = context;
    (void)snprintf(all + strlen(all), 256 - strlen(all), "%.*s ", (int)message->len,
                   (const char *)message->payload);
}

static void finish(struct cluster *cluster, struct emit *emit, struct emit_epoch *epoch,
                   const char *expected)
{
    char all[256] = "";
    emit_epoch_free(epoch);
    emit_close(emit);
    cluster_read(cluster, "lists", 0, -1, value_note, all);
    CHECK_STR(all, expected);
    cluster_stop(cluster);
}

/* SIGSTOP by a child, for so long. */
static void stand_still(int ms)
{
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)kill(parent, SIGSTOP);
        sync_sleep_ms(ms);
        (void)kill(parent, SIGCONT);
        _exit(0);
    }
    sync_sleep_ms(100); /* the stop falls in here */
    (void)waitpid(child, NULL, 0);
}

static void stood_still(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    struct emit *emit = emit_start(&cluster);
    struct emit_epoch *epoch = first_send(emit);
    stand_still(STILL_MS + 500);
    CHECK(!list_send(emit, epoch, "late", &err));
    printf("  %s\n", err.text);
    CHECK_INT(err.class, ERR_ABORT);
    CHECK(strstr(err.text, "stood still"));
    CHECK(!list_send(emit, epoch, "late", &err)); /* and so it stays */
    goes_on(emit, epoch);
    finish(&cluster, emit, epoch, "first again ");
}

/* One request is answered too late; what waits behind it is never sent. */
static void became_old(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    struct emit *emit = emit_start(&cluster);
    struct emit_epoch *epoch = first_send(emit);
    CHECK_INT(rd_kafka_mock_broker_set_rtt(cluster.mock, 1, 3 * AGE_MS), 0);
    CHECK(list_send(emit, epoch, "unheard", &err));
    sync_sleep_ms(200);
    CHECK(list_send(emit, epoch, "late", &err));
    CHECK_INT(epoch_await(epoch, 2 * AGE_MS, &err), EMIT_FAILED);
    sync_sleep_ms(1000);
    printf("  %s\n", err.text);
    CHECK_INT(err.class, ERR_ABORT);
    CHECK_INT(rd_kafka_mock_broker_set_rtt(cluster.mock, 1, 0), 0);
    goes_on(emit, epoch);
    finish(&cluster, emit, epoch, "first unheard again ");
}

static void broken(void)
{
    struct cluster cluster;
    struct err err = ERR_INIT, why = ERR_INIT;
    struct emit *emit = emit_start(&cluster);
    struct emit_epoch *epoch = first_send(emit);
    (void)err_set(&why, ERR_ABORT, "partitions are lost");
    emit_break(emit, &why);
    CHECK(!emit_check(emit, &err));
    CHECK_STR(err.text, why.text);
    CHECK(!list_send(emit, epoch, "late", &err));
    goes_on(emit, epoch);
    finish(&cluster, emit, epoch, "first again ");
}

int main(void)
{
    CASE(stood_still);
    CASE(became_old);
    CASE(broken);
    return 0;
}
