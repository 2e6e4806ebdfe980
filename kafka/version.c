/* What the brokers understand. librdkafka asks each one at connecting and tells nobody but its debug log, one line a request:
 *
 *     ...:   ApiKey TxnOffsetCommit (28) Versions 0..5
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/internal.h"

enum { CLOSE_MS = 5000 };

void kafka__version_note(struct kafka_notes *notes, const char *text)
{
    char wanted[80];
    (void)snprintf(wanted, sizeof wanted, "ApiKey %s (", notes->request);
    const char *found = strstr(text, wanted);
    const char *dots = found ? strstr(found, "..") : NULL;
    if (dots) sync_int_set_release(&notes->version, strtol(dots + 2, NULL, 10) + 1);
}

bool kafka_request_version(const struct kafka_config *config, const char *request, int *highest,
                           int timeout_ms, struct err *err)
{
    static const struct kafka_setting own[] = {{"debug", "feature"}};
    struct kafka_notes notes;
    kafka_notes_init(&notes, true, NULL);
    notes.request = request;
    rd_kafka_conf_t *conf = kafka_client_conf(config, KAFKA_ADMIN, own, 1, err);
    rd_kafka_t *client = conf ? kafka_client_new(conf, KAFKA_ADMIN, &notes, err) : NULL;
    bool ok = client != NULL;
    char *id = client ? kafka__cluster_id(client, timeout_ms) : NULL;
    if (client && !id)
        ok = kafka__unreachable(&notes, RD_KAFKA_RESP_ERR__TRANSPORT, "ask Kafka for its version",
                                timeout_ms, err);
    if (id) rd_kafka_mem_free(client, id);
    *highest = (int)sync_int_get_acquire(&notes.version) - 1;
    if (client && !kafka_client_free(client, CLOSE_MS))
        return err_set(err, ERR_FATAL, "the client that asked for Kafka's version does not end");
    kafka_notes_fini(&notes);
    return ok;
}
