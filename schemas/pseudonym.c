/* Pseudonyms: what stands for a user's id when privacy.pseudonymise is on. Keyed BLAKE2b-128 (libsodium, 0.3 us), so that nobody who
 * lacks the key can try ids out; the key's name stands in front, so that values of an old key are known for it. */
#include "schemas/pseudonym.h"

#include <sodium.h>
#include <string.h>

#include "base/mem.h"

enum { KEY_BYTES = 32, NAME_MAX_BYTES = 16, HASH_BYTES = 16 };

struct pseudonym_key {
    char name[NAME_MAX_BYTES + 1];
    unsigned char bytes[KEY_BYTES];
};

struct pseudonyms {
    struct pseudonym_key keys[PSEUDONYM_KEYS_MAX]; /* (n) the one in use first */
    int n;
};

/* ---- the secret ---- */

static bool is_between(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool name_take(struct pseudonym_key *key, struct str name, struct err *err)
{
    bool ok = name.len >= 1 && name.len <= NAME_MAX_BYTES;
    for (size_t i = 0; ok && i < name.len; i++)
        ok = (name.ptr[i] >= 'a' && name.ptr[i] <= 'z') ||
             (name.ptr[i] >= '0' && name.ptr[i] <= '9');
    if (!ok)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "privacy.pseudonym.secret: a key's name is 1 to %d of a-z and 0-9, with a "
                         "colon and the key behind it",
                         NAME_MAX_BYTES);
    memcpy(key->name, name.ptr, name.len);
    key->name[name.len] = '\0';
    return true;
}

/* One "name:64 hex digits". */
static bool key_take(struct pseudonyms *p, struct str text, struct err *err)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    size_t name_len = colon ? (size_t)(colon - text.ptr) : 0, n = 0;
    struct pseudonym_key *key = &p->keys[p->n];
    if (p->n == PSEUDONYM_KEYS_MAX)
        return err_fatal(err, ERR_EXIT_USAGE, "privacy.pseudonym.secret: more than %d keys",
                         PSEUDONYM_KEYS_MAX);
    if (!name_take(key, (struct str){text.ptr, name_len}, err)) return false;
    struct str hex = {colon + 1, text.len - name_len - 1};
    bool ok = hex.len == 2 * (size_t)KEY_BYTES &&
              sodium_hex2bin(key->bytes, KEY_BYTES, hex.ptr, hex.len, NULL, &n, NULL) == 0 &&
              n == KEY_BYTES;
    for (int i = 0; i < p->n; i++)
        ok = ok && strcmp(p->keys[i].name, key->name) != 0;
    if (!ok)
        return err_fatal(err, ERR_EXIT_USAGE,
                         "privacy.pseudonym.secret: key '%s' is not %d hex digits, or there twice: "
                         "make one with `openssl rand -hex %d`",
                         key->name, 2 * KEY_BYTES, KEY_BYTES);
    p->n++;
    return true;
}

bool pseudonyms_open(struct pseudonyms **out, struct str secret, struct err *err)
{
    struct pseudonyms *p = mem_zalloc(sizeof *p);
    bool ok = true;
    for (size_t at = 0; ok && at < secret.len;) {
        size_t begin = at;
        while (at < secret.len && !is_between(secret.ptr[at]))
            at++;
        if (at > begin) ok = key_take(p, (struct str){secret.ptr + begin, at - begin}, err);
        at++;
    }
    if (ok && p->n == 0)
        ok = err_fatal(err, ERR_EXIT_USAGE,
                       "privacy.pseudonymise=true needs privacy.pseudonym.secret=${file:/path}: "
                       "\"name:\" and the output of `openssl rand -hex %d`",
                       KEY_BYTES);
    if (ok)
        *out = p;
    else
        pseudonyms_close(p);
    return ok;
}

void pseudonyms_close(struct pseudonyms *p)
{
    if (!p) return;
    sodium_memzero(p, sizeof *p);
    mem_free(p);
}

int pseudonyms_keys(const struct pseudonyms *p)
{
    return p ? p->n : 1;
}

/* ---- names ---- */

struct str pseudonym_of(const struct pseudonyms *p, int key, struct str tenant, struct str id,
                        char out[PSEUDONYM_MAX])
{
    unsigned char hash[HASH_BYTES];
    crypto_generichash_state state;
    if (!p || id.len == 0) return id;
    (void)crypto_generichash_init(&state, p->keys[key].bytes, KEY_BYTES, HASH_BYTES);
    (void)crypto_generichash_update(&state, (const unsigned char *)tenant.ptr, tenant.len);
    (void)crypto_generichash_update(&state, (const unsigned char *)"", 1);
    (void)crypto_generichash_update(&state, (const unsigned char *)id.ptr, id.len);
    (void)crypto_generichash_final(&state, hash, HASH_BYTES);
    size_t len = strlen(p->keys[key].name);
    memcpy(out, p->keys[key].name, len);
    out[len++] = '~';
    (void)sodium_bin2hex(out + len, PSEUDONYM_MAX - len, hash, HASH_BYTES);
    return (struct str){out, len + 2 * (size_t)HASH_BYTES};
}

bool pseudonym_is(const struct pseudonyms *p, struct str id)
{
    for (int i = 0; p && i < p->n; i++) {
        size_t len = strlen(p->keys[i].name);
        if (id.len != len + 1 + 2 * (size_t)HASH_BYTES || id.ptr[len] != '~' ||
            memcmp(id.ptr, p->keys[i].name, len) != 0)
            continue;
        size_t digits = 0;
        for (size_t at = len + 1; at < id.len; at++)
            digits += (id.ptr[at] >= '0' && id.ptr[at] <= '9') ||
                      (id.ptr[at] >= 'a' && id.ptr[at] <= 'f');
        if (digits == 2 * (size_t)HASH_BYTES) return true;
    }
    return false;
}

static struct str kept(const struct pseudonyms *p, int key, struct str tenant, struct str id,
                       struct arena *arena)
{
    char text[PSEUDONYM_MAX];
    return id.len ? arena_str(arena, pseudonym_of(p, key, tenant, id, text)) : id;
}

void pseudonyms_apply(const struct pseudonyms *p, struct event *event, struct arena *arena)
{
    if (!p) return;
    struct str id = event->user_id.len ? event->user_id : event->anonymous_id;
    event->former_id = p->n > 1 ? kept(p, 1, event->tenant, id, arena) : (struct str){0};
    event->user_id = kept(p, 0, event->tenant, event->user_id, arena);
    event->anonymous_id = kept(p, 0, event->tenant, event->anonymous_id, arena);
}
