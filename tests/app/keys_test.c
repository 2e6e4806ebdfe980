/* Keys and where they go: hashes of Kafka's own tests (UtilsTest.testMurmur2). */
#include "app/keys.h"

#include "tests/test.h"

static void test_partitions_are_javas(void)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {{"21", -973932308},
                 {"foobar", -790332482},
                 {"a-little-bit-long-string", -985981536},
                 {"a-little-bit-longer-string", -1486304829},
                 {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                 {"abc", 479470107}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        for (int n = 1; n < 100; n += 7)
            CHECK_INT(keys_partition(str_of(known[i].key), n), (known[i].hash & 0x7fffffff) % n);
}

static void test_pairs(void)
{
    char out[KEYS_MAX];
    struct str key = keys_pair(STR("shop"), STR("u1"), out);
    CHECK_BYTES(key.ptr, key.len, "shop:u1", 7);
    key = keys_pair((struct str){0}, STR("u1"), out);
    CHECK_BYTES(key.ptr, key.len, "u1", 2);
}

int main(void)
{
    CASE(test_partitions_are_javas);
    CASE(test_pairs);
    return 0;
}
