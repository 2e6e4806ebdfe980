/* What a group has committed, where it is to go on, and records that are deleted up to a place. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "kafka/internal.h"

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_place *places, int n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, places[i].topic, places[i].partition)->offset =
            places[i].offset;
    return list;
}

/* The first error of a list. */
static rd_kafka_resp_err_t list_code(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list && i < list->cnt; i++)
        if (list->elems[i].err) return list->elems[i].err;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- a group's offsets ----
 *
 * By a consumer that knows the group and never joins it: librdkafka's requests of the same kind for administrators (ListConsumerGroupOffsets,
 * AlterConsumerGroupOffsets) follow a null pointer when the broker that they ask is not the group's coordinator any more (its issue
 * 5040; seen with 2.0.2 when brokers ended). */

enum { AGAIN_MS = 100 };

static bool member_open(struct kafka__admin **member, const struct kafka_config *config,
                        const char *group, struct err *err)
{
    const struct kafka_setting own[] = {{"group.id", group}, {"session.timeout.ms", "10000"}};
    return kafka__asker_open(member, config, KAFKA_CONSUMER, own, sizeof own / sizeof own[0], err);
}

/* A coordinator that is on its way is asked for again, until the time is over. */
static rd_kafka_resp_err_t committed_ask(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                         int timeout_ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_committed(client, list, timeout_ms);
        if (!code) code = list_code(list);
        bool passes = code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
                      code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
                      code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
                      code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
        if (!passes || clock_mono_ns() > until) return code;
        sync_sleep_ms(AGAIN_MS);
    }
}

struct kafka_committed {
    struct kafka__admin *member;
    char *name;
};

bool kafka_committed_open(struct kafka_committed **out, const struct kafka_config *config,
                          const char *name, struct err *err)
{
    struct kafka__admin *member;
    if (!member_open(&member, config, name, err)) return false;
    struct kafka_committed *committed = mem_zalloc(sizeof *committed);
    committed->member = member;
    committed->name = mem_strdup(name);
    *out = committed;
    return true;
}

bool kafka_committed_read(struct kafka_committed *committed, const char *topic, int n_partitions,
                          int64_t *offsets, int timeout_ms, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n_partitions);
    for (int32_t p = 0; p < n_partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p);
    rd_kafka_resp_err_t code = committed_ask(committed->member->client, list, timeout_ms);
    for (int i = 0; i < list->cnt && !code; i++)
        offsets[list->elems[i].partition] = list->elems[i].offset < 0 ? -1 : list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return !code ||
           kafka_err_set(err, code, NULL, "cannot read the offsets of group '%s'", committed->name);
}

void kafka_committed_close(struct kafka_committed *committed)
{
    if (!committed) return;
    kafka__admin_close(committed->member);
    mem_free(committed->name);
    mem_free(committed);
}

bool kafka_group_move(const struct kafka_config *config, const char *name,
                      const struct kafka_place *places, int n, int timeout_ms, struct err *err)
{
    struct kafka__admin *member;
    if (!member_open(&member, config, name, err)) return false;
    rd_kafka_topic_partition_list_t *list = list_of(places, n);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(member->client);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(member->client, list, queue, NULL, NULL);
    rd_kafka_event_t *event = code ? NULL : rd_kafka_queue_poll(queue, timeout_ms);
    if (!code) code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code) code = list_code(rd_kafka_event_topic_partition_list(event));
    bool ok = !code || kafka_err_set(err, code, NULL, "cannot set the offsets of group '%s'", name);
    if (event) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    kafka__admin_close(member);
    return ok;
}

/* ---- delete ---- */

static void delete_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                        rd_kafka_queue_t *queue, void *context)
{
    rd_kafka_DeleteRecords_t *before = rd_kafka_DeleteRecords_new(context);
    rd_kafka_DeleteRecords(client, &before, 1, options, queue);
    rd_kafka_DeleteRecords_destroy(before);
}

bool kafka_records_delete(const struct kafka_config *config, const struct kafka_place *places,
                          int n, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_topic_partition_list_t *list = list_of(places, n);
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_DELETERECORDS, delete_send, list,
                                     "delete records"};
    rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
    bool ok = false;
    if (event) {
        rd_kafka_resp_err_t code = list_code(
            rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event)));
        ok = !code ||
             kafka_err_set(err, code, NULL, "cannot delete records of topic '%s'", places[0].topic);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_topic_partition_list_destroy(list);
    kafka__admin_close(admin);
    return ok;
}
