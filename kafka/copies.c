/* Who keeps copies of a group's partitions: rendezvous hashing over its members. */
#include <string.h>

#include "base/mem.h"
#include "kafka/internal.h"

enum { MEMBERS_MAX = 1024 };

/* FNV-1a of the member's id and the partition, with a last mix (MurmurHash3's finalizer): ids differ in few bytes. */
static uint64_t weight_of(const char *member, int32_t partition)
{
    uint64_t hash = 1469598103934665603u ^ (uint64_t)(uint32_t)partition * 0x9e3779b97f4a7c15u;
    for (const char *c = member; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    return hash;
}

int kafka_copies_rank(const char *const *members, int n, const char *owner, const char *member,
                      int32_t partition)
{
    uint64_t own = weight_of(member, partition);
    int before = 0;
    for (int i = 0; i < n; i++) {
        uint64_t weight = weight_of(members[i], partition);
        if (strcmp(members[i], owner) == 0 || strcmp(members[i], member) == 0) continue;
        before += weight < own || (weight == own && strcmp(members[i], member) < 0);
    }
    return before;
}

struct spread {
    const char *topic, *member;
    int copies, n_partitions;
    bool *is_ours;
};

/* What one member owns: for each of them whether we keep a copy. */
static void owner_read(const struct spread *spread, const char *const *members, int n,
                       const char *owner, const rd_kafka_topic_partition_list_t *owned)
{
    for (int i = 0; owned && i < owned->cnt; i++) {
        const rd_kafka_topic_partition_t *part = &owned->elems[i];
        if (strcmp(part->topic, spread->topic) != 0) continue;
        if (part->partition < 0 || part->partition >= spread->n_partitions) continue;
        bool is_owner = strcmp(owner, spread->member) == 0;
        spread->is_ours[part->partition] =
            !is_owner &&
            kafka_copies_rank(members, n, owner, spread->member, part->partition) < spread->copies;
    }
}

static void group_read(const rd_kafka_ConsumerGroupDescription_t *described, void *context)
{
    const struct spread *spread = context;
    int n = (int)rd_kafka_ConsumerGroupDescription_member_count(described);
    if (n > MEMBERS_MAX) n = MEMBERS_MAX;
    const char **members = mem_zalloc((size_t)n * sizeof *members + 1);
    bool is_in = false;
    for (int i = 0; i < n; i++) {
        members[i] = rd_kafka_MemberDescription_consumer_id(
            rd_kafka_ConsumerGroupDescription_member(described, (size_t)i));
        is_in = is_in || strcmp(members[i], spread->member) == 0;
    }
    for (int i = 0; is_in && i < n; i++) {
        const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(
            rd_kafka_ConsumerGroupDescription_member(described, (size_t)i));
        owner_read(spread, members, n, members[i],
                   assignment ? rd_kafka_MemberAssignment_partitions(assignment) : NULL);
    }
    mem_free(members);
}

bool kafka_group_copies(const struct kafka_config *config, const char *name, const char *topic,
                        const char *member, int copies, int n_partitions, bool *is_ours,
                        int timeout_ms, struct err *err)
{
    struct spread spread = {topic, member, copies, n_partitions, is_ours};
    return kafka__group_ask(config, name, group_read, &spread, timeout_ms, err);
}
