#ifndef TESTS_SCHEMAS_KINDS_H
#define TESTS_SCHEMAS_KINDS_H

#include "schemas/internal.h"
#include "tests/schemas/fixture.h"

/* Every record type behind one face, so that one loop tests them all. */

union kind_record {
    struct event event;
    struct item item;
    struct recommendations list;
    struct related related;
    struct trending trending;
    struct training_example example;
    struct erasure erasure;
};

struct kind {
    const char *name; /* of the Avro record, in the namespace freshet */
    enum schemas_builtin id;
    const char *text; /* its .avsc file */
    const size_t *len;
    const struct target *target;
    bool reads_json; /* json.c knows all of its fields' stores */
    /* A random one; everything lies in the arena. */
    void (*make)(struct rng *rng, struct arena *arena, union kind_record *record);
    void (*encode)(const struct schemas *schemas, const union kind_record *record, struct buf *out);
    void (*encode_json)(const union kind_record *record, struct buf *out);
    bool (*decode)(struct schemas *schemas, struct str bytes, struct arena *arena,
                   union kind_record *record, struct err *err);
    void (*same)(const union kind_record *a, const union kind_record *b);
};

extern const struct kind kinds[];
extern const size_t n_kinds;

/* What a test of codecs works with. */
struct coding {
    struct schemas *schemas;
    struct arena *arena; /* of the records that are made */
    struct arena *back;  /* of those that are decoded */
    struct buf out;
    struct rng rng;
};

void coding_open(struct coding *coding, enum value_format format, uint64_t seed);
void coding_close(struct coding *coding);

#endif
