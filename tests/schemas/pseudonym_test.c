/* Pseudonyms: known answers (Python's hashlib.blake2b), what a secret may look like, events. */
#include "schemas/pseudonym.h"

#include "tests/test.h"

#define KEY_1 "0000000000000000000000000000000000000000000000000000000000000001"
#define KEY_2 "abababababababababababababababababababababababababababababababab"

static struct pseudonyms *opened(const char *secret)
{
    struct err err = ERR_INIT;
    struct pseudonyms *p = NULL;
    CHECK_OK(pseudonyms_open(&p, str_of(secret), &err), err);
    return p;
}

static void check(const struct pseudonyms *p, int key, const char *tenant, const char *id,
                  const char *want)
{
    char out[PSEUDONYM_MAX];
    struct str got = pseudonym_of(p, key, str_of(tenant), str_of(id), out);
    CHECK_BYTES(got.ptr, got.len, want, strlen(want));
}

static void test_known_answers(void)
{
    struct pseudonyms *p = opened("k1:" KEY_1 ",\n k2:" KEY_2 "\n");
    CHECK_INT(pseudonyms_keys(p), 2);
    check(p, 0, "", "anna", "k1~c97dd51f33085a2eb399e131a7ddbbad");
    check(p, 0, "shop", "anna", "k1~3d16052186c2d7a3a7f0ee1e2470bb2f");
    check(p, 1, "", "anna", "k2~9e427892d04d54dbe8b99aef01eeb3d9");
    check(p, 0, "", "", "");
    check(NULL, 0, "shop", "anna", "anna");
    CHECK_INT(pseudonyms_keys(NULL), 1);
    pseudonyms_close(p);
}

static void test_the_form_is_known(void)
{
    struct pseudonyms *p = opened("k1:" KEY_1);
    CHECK(pseudonym_is(p, STR("k1~c97dd51f33085a2eb399e131a7ddbbad")));
    CHECK(!pseudonym_is(p, STR("k2~9e427892d04d54dbe8b99aef01eeb3d9"))); /* of another key */
    CHECK(!pseudonym_is(p, STR("anna")));
    CHECK(!pseudonym_is(p, STR("k1~ANNA")));
    CHECK(!pseudonym_is(p, STR("k1~0000000000000000000000000000000G")));
    CHECK(!pseudonym_is(NULL, STR("k1~00000000000000000000000000000000")));
    pseudonyms_close(p);
}

static void refused(const char *secret, const char *why)
{
    struct err err = ERR_INIT;
    struct pseudonyms *p = NULL;
    CHECK_FAIL(pseudonyms_open(&p, str_of(secret), &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, why);
    CHECK(strstr(err.text, "abab") == NULL); /* no key in an error */
}

static void test_bad_secrets(void)
{
    refused("", "needs");
    refused(" \n,", "needs");
    refused(KEY_2, "name");
    refused(":" KEY_2, "name");
    refused("K:" KEY_2, "name");
    refused("k:" KEY_2 "00", "hex digits");
    refused("k:abab", "hex digits");
    refused("k:" KEY_1 " k:" KEY_2, "there twice");
    refused("a:" KEY_2 " b:" KEY_2 " c:" KEY_2 " d:" KEY_2 " e:" KEY_2, "more than 4");
}

static void test_events(void)
{
    struct arena *arena = arena_new(1024, 1 << 20);
    struct pseudonyms *one = opened("k1:" KEY_1), *two = opened("k2:" KEY_2 " k1:" KEY_1);
    struct event event = {.user_id = STR("anna"), .anonymous_id = STR("cookie")}, same = event;
    pseudonyms_apply(one, &event, arena);
    CHECK_BYTES(event.user_id.ptr, event.user_id.len, "k1~c97dd51f33085a2eb399e131a7ddbbad", 35);
    CHECK(pseudonym_is(one, event.anonymous_id));
    CHECK_INT(event.former_id.len, 0);
    event = same;
    pseudonyms_apply(two, &event, arena);
    CHECK_BYTES(event.user_id.ptr, event.user_id.len, "k2~9e427892d04d54dbe8b99aef01eeb3d9", 35);
    CHECK_BYTES(event.former_id.ptr, event.former_id.len, "k1~c97dd51f33085a2eb399e131a7ddbbad",
                35);
    pseudonyms_apply(NULL, &same, arena);
    CHECK_BYTES(same.user_id.ptr, same.user_id.len, "anna", 4);
    pseudonyms_close(one);
    pseudonyms_close(two);
    arena_free(arena);
}

int main(void)
{
    CASE(test_known_answers);
    CASE(test_the_form_is_known);
    CASE(test_bad_secrets);
    CASE(test_events);
    return 0;
}
