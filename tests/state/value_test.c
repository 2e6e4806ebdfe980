/* Values as bytes: what is written is read back bit by bit; what writing would not have made is refused. */
#include "tests/state/fixture.h"

#include "base/mem.h"

enum { W = 20, S = 6 };

/* A user as some events leave it. */
static void random_user(struct user *user, uint64_t seed)
{
    struct state_options options = fixture_options();
    struct rng rng;
    rng_init(&rng, seed);
    options.window_max = W;
    state__user_clear(user);
    uint64_t n = rng_below(&rng, 120);
    for (uint64_t i = 0; i < n; i++) {
        struct fixture_event e;
        fixture_random_event(&e, seed, i, 1);
        (void)state__fold(&options, user, &e.event, (int)rng_below(&rng, 2), (int64_t)i);
    }
    user->n_last_list = (int)rng_below(&rng, USER_LIST_MAX + 1);
    for (int i = 0; i < user->n_last_list; i++)
        user->last_list[i] = rng_u64(&rng);
    user->model_id = rng_below(&rng, 3) ? rng_u64(&rng) : 0;
    for (int i = 0; i < S; i++)
        user->encoder[i] = (float)rng_normal(&rng);
}

static void compare(const struct user *a, const struct user *b)
{
    CHECK_HEX(a->model_id, b->model_id);
    CHECK_BYTES(a->last_offset, sizeof a->last_offset, b->last_offset, sizeof b->last_offset);
    CHECK_BYTES(a->recent_ids, sizeof a->recent_ids, b->recent_ids, sizeof b->recent_ids);
    CHECK_INT(a->recent_next, b->recent_next);
    CHECK_INT(a->events, b->events);
    CHECK_INT(a->newest_ms, b->newest_ms);
    CHECK_INT(a->truncated, b->truncated);
    CHECK_BYTES(a->bought, 8 * a->n_bought, b->bought, 8 * b->n_bought);
    CHECK_BYTES(a->disliked, 8 * a->n_disliked, b->disliked, 8 * b->n_disliked);
    CHECK_BYTES(a->last_list, 8 * a->n_last_list, b->last_list, 8 * b->n_last_list);
    CHECK_INT(a->n_window, b->n_window);
    for (int i = 0; i < a->n_window; i++) {
        CHECK_HEX(a->window[i].item, b->window[i].item);
        CHECK_INT(a->window[i].time_ms, b->window[i].time_ms);
        CHECK_INT(a->window[i].type, b->window[i].type);
    }
    if (a->model_id) CHECK_BYTES(a->encoder, S * sizeof(float), b->encoder, S * sizeof(float));
}

static struct str bytes_of(const struct buf *buf)
{
    return (struct str){(const char *)buf->data, buf->len};
}

static void test_round_trip(void)
{
    uint64_t seed = TEST_SEED();
    struct user *user = fixture_user_new(W, S), *back = fixture_user_new(W, S);
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (uint64_t i = 0; i < 500; i++) {
        random_user(user, seed + i);
        buf_reset(&buf);
        state__user_encode(user, S, &buf);
        CHECK_INT(buf.len, state__user_size(user, S));
        const char *why = state__user_decode(bytes_of(&buf), W, S, back);
        CHECK_STR(why ? why : "", "");
        compare(user, back);
    }
    buf_fini(&buf);
    fixture_user_free(user);
    fixture_user_free(back);
}

/* The first bytes of a known user, as docs/STATE.md draws them. */
static void test_layout(void)
{
    struct user *user = fixture_user_new(W, S);
    struct buf buf;
    buf_init(&buf, 1 << 20);
    user->truncated = true;
    user->last_offset[0] = 0x0102030405060708;
    user->model_id = 0xAA;
    user->events = 3;
    user->newest_ms = 0x1122;
    user->n_window = 1;
    user->window[0] = (struct interaction){.item = 7, .time_ms = 9, .type = EVENT_VIEW};
    user->encoder[0] = 1.0f;
    state__user_encode(user, S, &buf);
    static const uint8_t want[] = {
        1,    1, 1, 0, 0, 0, 0, 0, /* version, flags, counts */
        1,    0, 0, 0, 6, 0, 0, 0, /* window, floats */
        0xAA, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0,          0, 0, 0,    0x22, 0x11,
        0,    0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2,          1, 7, 0,    0,    0,
        0,    0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, EVENT_VIEW, 0, 0, 0x80, 0x3f};
    CHECK_BYTES(buf.data, sizeof want, want, sizeof want);
    CHECK_INT(buf.len, sizeof want + 20);
    buf_fini(&buf);
    fixture_user_free(user);
}

/* A changed byte is refused, or means another user that encodes to just these bytes. */
static void check_strict(struct str value, struct user *back, struct buf *again, uint64_t *refused)
{
    if (state__user_decode(value, W, S, back)) {
        ++*refused;
        return;
    }
    buf_reset(again);
    state__user_encode(back, S, again);
    CHECK_BYTES(value.ptr, value.len, again->data, again->len);
}

static void test_damage(void)
{
    uint64_t seed = TEST_SEED(), refused = 0;
    struct user *user = fixture_user_new(W, S), *back = fixture_user_new(W, S);
    struct buf buf, again;
    struct rng rng;
    rng_init(&rng, seed);
    buf_init(&buf, 1 << 20);
    buf_init(&again, 1 << 20);
    for (uint64_t i = 0; i < 60; i++) {
        random_user(user, seed + i);
        if (!user->model_id) user->model_id = 1; /* no floats at all is another S, and accepted */
        buf_reset(&buf);
        state__user_encode(user, S, &buf);
        for (size_t cut = 0; cut < buf.len; cut++)
            CHECK(state__user_decode((struct str){(char *)buf.data, cut}, W, S, back) != NULL);
        buf_push_byte(&buf, 0);
        CHECK(state__user_decode(bytes_of(&buf), W, S, back) != NULL);
        buf.len--;
        for (size_t at = 0; at < buf.len; at++) {
            uint8_t old = buf.data[at];
            buf.data[at] ^= (uint8_t)(1u << rng_below(&rng, 8));
            check_strict(bytes_of(&buf), back, &again, &refused);
            buf.data[at] = old;
        }
    }
    CHECK(refused > 500);
    buf_fini(&buf);
    buf_fini(&again);
    fixture_user_free(user);
    fixture_user_free(back);
}

/* Another model size drops the encoder state only; a smaller window keeps the newest. */
static void test_other_sizes(void)
{
    struct user *user = fixture_user_new(W, S), *back = fixture_user_new(W, 2 * S);
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (int i = 0; i < W; i++)
        user->window[i] = (struct interaction){.item = (uint64_t)i + 1, .time_ms = i};
    user->n_window = W;
    user->model_id = 5;
    state__user_encode(user, S, &buf);
    CHECK(state__user_decode(bytes_of(&buf), W, 2 * S, back) == NULL);
    CHECK_INT(back->model_id, 0);
    CHECK_INT(back->n_window, W);
    CHECK_INT(back->truncated, false);
    CHECK(state__user_decode(bytes_of(&buf), 5, S, back) == NULL);
    CHECK_INT(back->model_id, 0);
    CHECK_INT(back->n_window, 5);
    CHECK_INT(back->window[0].item, W - 4);
    CHECK_INT(back->truncated, true);
    buf_fini(&buf);
    fixture_user_free(user);
    fixture_user_free(back);
}

static void test_positions(void)
{
    struct buf buf;
    int64_t next;
    buf_init(&buf, 64);
    state__position_encode(1234567890123, &buf);
    CHECK(state__position_decode(bytes_of(&buf), &next));
    CHECK_INT(next, 1234567890123);
    CHECK(!state__position_decode((struct str){(char *)buf.data, 8}, &next));
    buf.data[0] = 2;
    CHECK(!state__position_decode(bytes_of(&buf), &next));
    buf_reset(&buf);
    state__position_encode(-1, &buf);
    CHECK(!state__position_decode(bytes_of(&buf), &next));
    buf_fini(&buf);
}

int main(void)
{
    CASE(test_round_trip);
    CASE(test_layout);
    CASE(test_damage);
    CASE(test_other_sizes);
    CASE(test_positions);
    return 0;
}
