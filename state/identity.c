/* What a store belongs to (I5): its encoding, and the refusals when the configuration says something else. */
#include "state/internal.h"

#include <stdio.h>
#include <string.h>

static const char magic[4] = {'f', 'r', 's', 't'};

enum { IDENTITY_TOPICS_MAX = STATE_BACKUP_TOPICS_MAX, IDENTITY_BYTES_MAX = 65536 };

/* The decoded table; texts point into the stored bytes. */
struct stored_identity {
    uint16_t format;
    uint32_t n_partitions;
    struct str application_id;
    struct str cluster_id;
    struct str topics[IDENTITY_TOPICS_MAX];
    int n_topics;
};

static void push_text(struct buf *out, struct str text)
{
    buf_push_u16(out, (uint16_t)text.len);
    buf_push_str(out, text);
}

void state__identity_encode(const struct state_identity *identity, uint16_t format, struct buf *out)
{
    buf_push(out, magic, sizeof magic);
    buf_push_u16(out, format);
    buf_push_u32(out, (uint32_t)identity->n_partitions);
    push_text(out, str_of(identity->application_id));
    push_text(out, str_of(identity->cluster_id));
    buf_push_u16(out, (uint16_t)identity->n_topics);
    for (int i = 0; i < identity->n_topics; i++)
        push_text(out, str_of(identity->topics[i]));
}

static struct str read_text(struct cursor *c)
{
    size_t len = cursor_u16(c);
    const uint8_t *bytes = cursor_bytes(c, len);
    return (struct str){(const char *)bytes, bytes ? len : 0};
}

/* Magic and format stand first in every format, so that each program can tell the others'. */
static bool decode(struct state__formats formats, struct str bytes, struct stored_identity *stored)
{
    struct cursor c = {.ptr = (const uint8_t *)bytes.ptr, .left = bytes.len};
    const uint8_t *head = cursor_bytes(&c, sizeof magic);
    if (!head || memcmp(head, magic, sizeof magic) != 0) return false;
    stored->format = cursor_u16(&c);
    bool is_read = stored->format >= formats.oldest && stored->format <= formats.newest;
    if (c.failed || !is_read) return !c.failed;
    stored->n_partitions = cursor_u32(&c);
    stored->application_id = read_text(&c);
    stored->cluster_id = read_text(&c);
    stored->n_topics = cursor_u16(&c);
    if (stored->n_topics > IDENTITY_TOPICS_MAX) return false;
    for (int i = 0; i < stored->n_topics; i++)
        stored->topics[i] = read_text(&c);
    return !c.failed && c.left == 0;
}

static bool check_readable(const struct state *state, struct str bytes,
                           struct stored_identity *stored, struct err *err)
{
    const char *folder = state->folder;
    if (!decode(state->formats, bytes, stored))
        return err_fatal(err, ERR_EXIT_STORE,
                         "state store %s: the record that says what it belongs to is damaged; move "
                         "the folder away and start again to rebuild it from the source topics",
                         folder);
    if (stored->format > state->formats.newest)
        return err_fatal(err, ERR_EXIT_STORE,
                         "state store %s has format %u, written by a newer freshet; this one reads "
                         "up to format %u: run the newer freshet, restore a backup from before it, "
                         "or set state.dir to another folder",
                         folder, stored->format, state->formats.newest);
    if (stored->format < state->formats.oldest)
        return err_fatal(
            err, ERR_EXIT_STORE,
            "state store %s has format %u, written by an older freshet; this one "
            "reads from format %u: open it with a freshet in between first, or move the "
            "folder away and start again to rebuild it",
            folder, stored->format, state->formats.oldest);
    return true;
}

bool state__identity_readable(const struct state *state, struct str bytes, struct err *err)
{
    struct stored_identity stored;
    return check_readable(state, bytes, &stored, err);
}

static void text_keep(char out[STATE_BACKUP_NAME_MAX], struct str text)
{
    (void)snprintf(out, STATE_BACKUP_NAME_MAX, "%.*s", STR_ARG(text));
}

bool state__identity_decode(const struct state *state, struct str bytes,
                            struct state_backup *backup, struct err *err)
{
    struct stored_identity stored;
    if (!check_readable(state, bytes, &stored, err)) return false;
    backup->format = stored.format;
    backup->n_partitions = (int)stored.n_partitions;
    text_keep(backup->application_id, stored.application_id);
    text_keep(backup->cluster_id, stored.cluster_id);
    backup->n_topics = stored.n_topics;
    for (int i = 0; i < stored.n_topics; i++)
        text_keep(backup->topics[i], stored.topics[i]);
    return true;
}

/* ---- the comparison ---- */

static bool same_text(const char *folder, const char *what, struct str stored, const char *given,
                      const char *todo, struct err *err)
{
    if (str_equal(stored, str_of(given))) return true;
    return err_fatal(err, ERR_EXIT_STORE,
                     "state store %s belongs to %s \"%.*s\", not to \"%s\": %s", folder, what,
                     STR_ARG(stored), given, todo);
}

/* "a,b,c"; cut when it is too long for an error line. */
static void join_stored(const struct stored_identity *stored, struct buf *out)
{
    for (int i = 0; i < stored->n_topics; i++)
        buf_push_format(out, "%s%.*s", i ? "," : "", STR_ARG(stored->topics[i]));
    buf_push_byte(out, 0);
}

static void join_given(const struct state_identity *identity, struct buf *out)
{
    for (int i = 0; i < identity->n_topics; i++)
        buf_push_format(out, "%s%s", i ? "," : "", identity->topics[i]);
    buf_push_byte(out, 0);
}

static bool same_topics(const char *folder, const struct stored_identity *stored,
                        const struct state_identity *identity, struct err *err)
{
    struct buf has, given;
    buf_init(&has, IDENTITY_BYTES_MAX);
    buf_init(&given, IDENTITY_BYTES_MAX);
    join_stored(stored, &has);
    join_given(identity, &given);
    bool same = strcmp((char *)has.data, (char *)given.data) == 0;
    if (!same)
        (void)err_fatal(
            err, ERR_EXIT_STORE,
            "state store %s was built from topics %.120s, the configuration says %.120s "
            "(the order counts): put events.topics back, or use another "
            "application.id and state.dir",
            folder, (char *)has.data, (char *)given.data);
    buf_fini(&has);
    buf_fini(&given);
    return same;
}

bool state__identity_check(const struct state *state, struct str bytes,
                           const struct state_identity *identity, uint16_t *format, struct err *err)
{
    const char *folder = state->folder;
    struct stored_identity stored;
    if (!check_readable(state, bytes, &stored, err)) return false;
    *format = stored.format;
    if (!same_text(folder, "application.id", stored.application_id, identity->application_id,
                   "put application.id back, or set state.dir to a folder of its own", err))
        return false;
    if (!same_text(
            folder, "cluster", stored.cluster_id, identity->cluster_id,
            "check bootstrap.servers, or set state.dir to another folder; if the cluster was "
            "made anew, move the folder away",
            err))
        return false;
    if (!same_topics(folder, &stored, identity, err)) return false;
    if (stored.n_partitions == (uint32_t)identity->n_partitions) return true;
    return err_fatal(
        err, ERR_EXIT_STORE,
        "state store %s was built for %u partitions, the topics have %d now: users moved "
        "between partitions; move the folder away and start again to rebuild it from "
        "the source topics, or use another application.id and state.dir",
        folder, stored.n_partitions, identity->n_partitions);
}
