/* Ending the transactions of a process that is no more. */
#include "base/clock.h"
#include "base/mem.h"
#include "kafka/client.h"

enum { CLOSE_MS = 5000, CALL_MS = 1000, AGAIN_MS = 20 };

/* The first call of a producer with that id: the broker aborts what is open and raises the epoch, which fences whoever had it. */
static bool init(rd_kafka_t *client, const char *transactional_id, int timeout_ms, struct err *err)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(client, CALL_MS);
        if (!error) return true;
        bool goes_on = rd_kafka_error_is_retriable(error) && clock_mono_ns() < until;
        (void)kafka_err_set(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                            "cannot end the transaction of '%s'", transactional_id);
        rd_kafka_error_destroy(error);
        if (!goes_on) return false;
        err->class = ERR_NONE;
        sync_sleep_ms(AGAIN_MS);
    }
}

bool kafka_transaction_end(const struct kafka_config *config, const char *transactional_id,
                           int timeout_ms, struct err *err)
{
    struct kafka_notes *notes = mem_zalloc(sizeof *notes);
    const struct kafka_setting own[] = {{"transactional.id", transactional_id}};
    kafka_notes_init(notes, true, NULL);
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_PRODUCER, own, 1, err);
    rd_kafka_t *client = conf ? kafka_client_new(conf, KAFKA_PRODUCER, notes, err) : NULL;
    bool ok = client && init(client, transactional_id, timeout_ms, err);
    if (client && !kafka_client_free(client, CLOSE_MS))
        return ok; /* it may still log: the notes stay */
    kafka_notes_fini(notes);
    mem_free(notes);
    return ok;
}
