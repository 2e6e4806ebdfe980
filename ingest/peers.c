/* The other processes of the group, by group.instance.id: who was there at the last assignment and is not at this one was killed, or
 * stands still. What it left open (a transaction) would hold up whoever has its partitions now. All members of a generation are
 * there when it is assigned, so one question for each assignment sees them all. And whether another process has our own place. The
 * thread that serves. */
#include "ingest/internal.h"

#include <string.h>

#include "base/log.h"

enum { ASK_MS = 5000, PEERS_MAX = 4096 };

static bool is_in(const struct ingest__peers *peers, const char *name)
{
    for (int i = 0; i < peers->n; i++)
        if (strcmp(peers->names[i], name) == 0) return true;
    return false;
}

static void peer_see(void *context, const char *instance, const char *member)
{
    struct ingest__peers *peers = context;
    (void)member;
    if (!instance[0] || peers->n == PEERS_MAX) return;
    peers->names = mem_realloc(peers->names, ((size_t)peers->n + 1) * sizeof *peers->names);
    peers->names[peers->n++] = mem_strdup(instance);
}

void ingest__peers_free(struct ingest__peers *peers)
{
    for (int i = 0; i < peers->n; i++)
        mem_free(peers->names[i]);
    mem_free(peers->names);
    *peers = (struct ingest__peers){0};
}

void ingest__peers_look(struct ingest *ingest)
{
    const char *own = ingest->options.group_instance_id;
    struct ingest__peers now = {0}, *before = &ingest->peers;
    struct err err = ERR_INIT;
    ingest__member(ingest, ingest->member);
    if (!ingest->callbacks.gone || fault_mutant("group_unnamed")) return;
    if (!kafka_group_members(ingest->config, ingest->options.group_id, peer_see, &now, ASK_MS,
                             &err)) {
        log_err(LOG_DEBUG, "ingest", &err); /* no right to ask: what was left open ends by time */
        ingest__peers_free(&now);
        return;
    }
    for (int i = 0; i < before->n; i++)
        if (!is_in(&now, before->names[i]) && !(own && strcmp(own, before->names[i]) == 0))
            ingest->callbacks.gone(ingest->callbacks.context, before->names[i]);
    ingest__peers_free(before);
    *before = now;
}

/* ---- our own place ---- */

struct listing {
    const char *member;
    bool is_found;
};

static void listing_see(void *context, const char *instance, const char *member)
{
    struct listing *listing = context;
    (void)instance;
    if (strcmp(member, listing->member) == 0) listing->is_found = true;
}

bool ingest__is_listed(struct ingest *ingest, bool *is_listed, struct err *err)
{
    char member[INGEST_MEMBER_MAX];
    ingest__member(ingest, member);
    struct listing listing = {.member = member};
    bool is_told = kafka_group_members(ingest->config, ingest->options.group_id, listing_see,
                                       &listing, ASK_MS, err);
    *is_listed = listing.is_found;
    bool is_refused = !is_told && err->exit_code == ERR_EXIT_USAGE;
    if (!is_told && !is_refused) {
        err->class = ERR_ABORT;
        return false;
    }
    if (is_refused) log_err(LOG_DEBUG, "ingest", err);
    *is_listed = *is_listed || is_refused;
    err->class = ERR_NONE;
    return true;
}

struct place {
    const char *instance, *member; /* we, as of the last assignment */
    bool is_another;
};

static void place_see(void *context, const char *instance, const char *member)
{
    struct place *place = context;
    if (strcmp(instance, place->instance) == 0 && strcmp(member, place->member) != 0)
        place->is_another = true;
}

/* Joining again would throw the other one out, who is younger and in the right. */
bool ingest__is_replaced(struct ingest *ingest)
{
    struct place place = {.instance = ingest->options.group_instance_id, .member = ingest->member};
    struct err err = ERR_INIT;
    if (!place.instance || !ingest->member[0]) return false;
    if (!kafka_group_members(ingest->config, ingest->options.group_id, place_see, &place, ASK_MS,
                             &err))
        log_err(LOG_DEBUG, "ingest", &err);
    if (!place.is_another) return false;
    (void)kafka_err_set(&err, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, NULL, "consumer of group '%s'",
                        ingest->options.group_id);
    ingest__fail(ingest, &err);
    return true;
}
