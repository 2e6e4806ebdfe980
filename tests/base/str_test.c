/* Numbers as text: what printf writes, at the edges and at random. */
#include "base/rng.h"
#include "base/str.h"
#include "tests/test.h"

static void check(int64_t number)
{
    char got[STR_NUMBER_MAX], want[32];
    size_t len = str_put_number(got, number);
    (void)snprintf(want, sizeof want, "%" PRId64, number);
    CHECK_BYTES(got, len, want, strlen(want));
}

int main(void)
{
    struct rng rng;
    const int64_t edges[] = {0, 9, 10, -1, -10, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        check(edges[i]);
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 100000; i++)
        check((int64_t)(rng_u64(&rng) >> rng_below(&rng, 64)));
    return 0;
}
