#ifndef KAFKA_INTERNAL_H
#define KAFKA_INTERNAL_H

#include "kafka/client.h"

/* refuse.c */

struct kafka__refusal {
    const char *key;
    const char *why, *instead; /* parts of a sentence: "<key> is refused: <why>; <instead>" */
};
struct kafka__wanted {
    const char *key, *value; /* as librdkafka spells the value */
    const char *why, *instead;
};
extern const struct kafka__refusal kafka__refusals[];
extern const size_t kafka__n_refusals;
extern const struct kafka__wanted kafka__wanted[];
extern const size_t kafka__n_wanted;

/* One setting of the user's, by its name. prefix: as the user wrote it, for the message. Errors: ERR_FATAL exit 2. */
MUST_USE bool kafka__setting_check(const struct kafka_setting *setting, const char *prefix,
                                   struct err *err);
/* What all settings came to. Errors: ERR_FATAL exit 2. */
MUST_USE bool kafka__conf_check(const rd_kafka_conf_t *conf, struct err *err);

/* What client.c says of a broker's certificate, and error.c knows again. */
#define KAFKA__CERTIFICATE_EARLY   "is not valid yet"
#define KAFKA__CERTIFICATE_EXPIRED "has expired"
#define KAFKA__CERTIFICATE_OTHER   "is of another host or address than was asked for"
#define KAFKA__CERTIFICATE_UNKNOWN "is not signed by an authority that is trusted here"

/* Shared by topics.c, groups.c and places.c: a short-lived client that asks and changes. */

struct kafka__admin {
    struct kafka_notes notes;
    rd_kafka_t *client;
};

MUST_USE bool kafka__admin_open(struct kafka__admin **admin, const struct kafka_config *config,
                                struct err *err);
/* The same with a client of that role and settings of its own (n_own). */
MUST_USE bool kafka__asker_open(struct kafka__admin **admin, const struct kafka_config *config,
                                enum kafka_role role, const struct kafka_setting *own, size_t n_own,
                                struct err *err);
void kafka__admin_close(struct kafka__admin *admin);
/* The id that the cluster has, waited for; NULL: not within the time. The caller's: rd_kafka_mem_free. */
char *kafka__cluster_id(rd_kafka_t *client, int timeout_ms);
/* The error of a request, with the client's newest complaint. Returns false. */
bool kafka__unreachable(struct kafka_notes *notes, rd_kafka_resp_err_t code, const char *what,
                        int timeout_ms, struct err *err);

/* Puts an admin request on a queue, with options that bound its time, and waits for the answer. NULL: err says why. Owns:
 * rd_kafka_event_destroy. */
struct kafka__request {
    rd_kafka_admin_op_t op;
    void (*send)(rd_kafka_t *client, const rd_kafka_AdminOptions_t *options,
                 rd_kafka_queue_t *queue, void *context);
    void *context;
    const char *what; /* "describe the group" */
};
rd_kafka_event_t *kafka__request(struct kafka__admin *admin, const struct kafka__request *request,
                                 int timeout_ms, struct err *err);

/* version.c: a line of librdkafka's log. Any thread. */
void kafka__version_note(struct kafka_notes *notes, const char *text);

/* What the group's coordinator says of it, if there is one. Errors: as kafka_group_describe. */
MUST_USE bool kafka__group_ask(const struct kafka_config *config, const char *name,
                               void (*read)(const rd_kafka_ConsumerGroupDescription_t *described,
                                            void *context),
                               void *read_context, int timeout_ms, struct err *err);

#endif
