/* What a group has committed, where it is to go on, and records that are deleted up to a place. */
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

struct group_places {
    const char *group;
    const rd_kafka_topic_partition_list_t *list;
};

/* The one group of an answer. Returns its list, NULL on an error. */
static const rd_kafka_topic_partition_list_t *group_read(const rd_kafka_group_result_t **groups,
                                                         size_t n, const char *what,
                                                         const char *name, struct err *err)
{
    const rd_kafka_error_t *error = n == 1 ? rd_kafka_group_result_error(groups[0]) : NULL;
    const rd_kafka_topic_partition_list_t *list =
        n == 1 ? rd_kafka_group_result_partitions(groups[0]) : NULL;
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : list_code(list);
    if (!code && !list) code = RD_KAFKA_RESP_ERR__BAD_MSG;
    if (!code) return list;
    (void)kafka_err_set(err, code, error ? rd_kafka_error_string(error) : NULL,
                        "cannot %s the offsets of group '%s'", what, name);
    return NULL;
}

/* ---- read ---- */

static void offsets_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                         rd_kafka_queue_t *queue, void *context)
{
    const struct group_places *asked = context;
    rd_kafka_ListConsumerGroupOffsets_t *list =
        rd_kafka_ListConsumerGroupOffsets_new(asked->group, asked->list);
    rd_kafka_ListConsumerGroupOffsets(client, &list, 1, options, queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(list);
}

bool kafka_group_offsets(const struct kafka_config *config, const char *name, const char *topic,
                         int n_partitions, int64_t *offsets, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n_partitions);
    for (int32_t p = 0; p < n_partitions; p++) {
        rd_kafka_topic_partition_list_add(list, topic, p);
        offsets[p] = -1;
    }
    struct group_places asked = {name, list};
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, offsets_send,
                                     &asked, "read the offsets of the group"};
    rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
    const rd_kafka_topic_partition_list_t *found = NULL;
    if (event) {
        size_t n = 0;
        const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &n);
        found = group_read(groups, n, "read", name, err);
    }
    for (int i = 0; found && i < found->cnt; i++)
        if (found->elems[i].partition < n_partitions)
            offsets[found->elems[i].partition] =
                found->elems[i].offset < 0 ? -1 : found->elems[i].offset;
    bool ok = found != NULL;
    if (event) rd_kafka_event_destroy(event);
    rd_kafka_topic_partition_list_destroy(list);
    kafka__admin_close(admin);
    return ok;
}

/* ---- set ---- */

static void move_send(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                      rd_kafka_queue_t *queue, void *context)
{
    const struct group_places *move = context;
    rd_kafka_AlterConsumerGroupOffsets_t *alter =
        rd_kafka_AlterConsumerGroupOffsets_new(move->group, move->list);
    rd_kafka_AlterConsumerGroupOffsets(client, &alter, 1, options, queue);
    rd_kafka_AlterConsumerGroupOffsets_destroy(alter);
}

bool kafka_group_move(const struct kafka_config *config, const char *name,
                      const struct kafka_place *places, int n, int timeout_ms, struct err *err)
{
    struct kafka__admin *admin;
    if (!kafka__admin_open(&admin, config, err)) return false;
    rd_kafka_topic_partition_list_t *list = list_of(places, n);
    struct group_places move = {name, list};
    struct kafka__request request = {RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, move_send, &move,
                                     "set the offsets of the group"};
    rd_kafka_event_t *event = kafka__request(admin, &request, timeout_ms, err);
    bool ok = false;
    if (event) {
        size_t n_groups = 0;
        const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &n_groups);
        ok = group_read(groups, n_groups, "set", name, err) != NULL;
        rd_kafka_event_destroy(event);
    }
    rd_kafka_topic_partition_list_destroy(list);
    kafka__admin_close(admin);
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
