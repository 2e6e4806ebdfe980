/* A client that lost its place in the group without another process having taken it.
 *
 * When the group's broker did not answer for session.timeout.ms, librdkafka 2.0.2 forgets its member id and gives the partitions up.
 * A heartbeat that it sends before it has joined again has group.instance.id and no member id. The broker, which still knows the
 * member, takes that for a second process of the instance, and the client takes the answer (FENCED_INSTANCE_ID) for its end. So
 * that answer counts only when we had a member id. Else the client is made anew; it joins as the instance's new member.
 *
 * What a client had sent before it ended may reach the broker behind its successor's first words, and takes the place from that one:
 * a fence within FRESH_MS of a renewal is answered by another renewal, for DOUBT_MS in all, then believed.
 *
 *     displaced -> partitions are lost -> each shard parks (restart.c) -> the client ends, another one joins */
#include "ingest/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { CLOSE_MS = 5000, FRESH_MS = 10000, DOUBT_MS = 60000 };

void ingest__member(struct ingest *ingest, char id[INGEST_MEMBER_MAX])
{
    char *member = ingest->client ? rd_kafka_memberid(ingest->client) : NULL;
    (void)snprintf(id, INGEST_MEMBER_MAX, "%s", member ? member : "");
    if (member) rd_kafka_mem_free(ingest->client, member);
}

void ingest_member(struct ingest *ingest, char id[INGEST_MEMBER_MAX])
{
    mutex_lock(&ingest->lock);
    ingest__member(ingest, id);
    mutex_unlock(&ingest->lock);
}

bool ingest__is_outside(struct ingest *ingest)
{
    char member[INGEST_MEMBER_MAX];
    ingest__member(ingest, member);
    return !member[0];
}

static bool is_within(uint64_t since_ns, uint64_t span_ms)
{
    return since_ns > 0 && clock_mono_ns() - since_ns < span_ms * 1000000;
}

bool ingest__is_fresh(const struct ingest *ingest)
{
    return is_within(ingest->renewed_at_ns, FRESH_MS) && is_within(ingest->doubts_at_ns, DOUBT_MS);
}

void ingest__displace(struct ingest *ingest)
{
    if (!ingest__is_fresh(ingest) && ingest__is_replaced(ingest)) return;
    log_warn("ingest",
             "our place in the group was lost, as when its broker is away for longer than "
             "session.timeout.ms: the consumer is made anew, nothing is lost",
             "group=%s", ingest->options.group_id);
    ingest->is_displaced = true;
    ingest__revoke_all(ingest, true);
    ingest__restart_ask(ingest);
}

/* Who has joined again since, or is about to, is the youngest itself. */
bool ingest_keeps_place(struct ingest *ingest, struct err *err)
{
    char member[INGEST_MEMBER_MAX];
    ingest__member(ingest, member);
    if (strcmp(member, ingest->member) != 0) return true;
    if (ingest__is_fresh(ingest) || !ingest__is_replaced(ingest)) return true;
    *err = ingest->failure;
    return false;
}

bool ingest__client_renew(struct ingest *ingest, struct err *err)
{
    rd_kafka_t *old = ingest->client;
    if (!is_within(ingest->renewed_at_ns, FRESH_MS)) ingest->doubts_at_ns = clock_mono_ns();
    mutex_lock(&ingest->lock);
    ingest__client_close(ingest);
    ingest->client = NULL;
    if (!kafka_client_free(old, CLOSE_MS))
        log_warn("ingest", "the consumer that lost its place does not end", NULL);
    ingest->is_displaced = false; /* whatever the old one said while it ended */
    ingest->renewed_at_ns = clock_mono_ns();
    ingest->member[0] = '\0';
    bool ok = ingest__client_open(ingest, err);
    mutex_unlock(&ingest->lock);
    return ok;
}
