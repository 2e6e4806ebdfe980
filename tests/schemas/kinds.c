#include "tests/schemas/kinds.h"

/* The four calls of a record type, for the table. */
#define CALLS(stem, type, member)                                                                  \
    static void encode_##stem(const struct schemas *schemas, const union kind_record *record,      \
                              struct buf *out)                                                     \
    {                                                                                              \
        schemas_##type##_encode(schemas, &record->member, out);                                    \
    }                                                                                              \
    static void encode_json_##stem(const union kind_record *record, struct buf *out)               \
    {                                                                                              \
        schemas_##type##_encode_json(&record->member, out);                                        \
    }                                                                                              \
    static bool decode_##stem(struct schemas *schemas, struct str bytes, struct arena *arena,      \
                              union kind_record *record, struct err *err)                          \
    {                                                                                              \
        return schemas_##type##_decode(schemas, bytes, arena, &record->member, err);               \
    }                                                                                              \
    static void same_##stem(const union kind_record *a, const union kind_record *b)                \
    {                                                                                              \
        fixture_same_##stem(&a->member, &b->member);                                               \
    }

CALLS(event, event, event)
CALLS(item, item, item)
CALLS(list, recommendations, list)
CALLS(related, related, related)
CALLS(trending, trending, trending)
CALLS(example, training_example, example)
CALLS(erasure, erasure, erasure)

static void make_event(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_event(rng, arena, &record->event);
}

static void make_item(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_item(rng, arena, &record->item);
}

static void make_list(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_list(rng, arena, (size_t)rng_below(rng, 30), &record->list);
}

static void make_related(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_related(rng, arena, &record->related);
}

static void make_trending(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_trending(rng, arena, &record->trending);
}

static void make_example(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_example(rng, arena, &record->example);
}

static void make_erasure(struct rng *rng, struct arena *arena, union kind_record *record)
{
    fixture_erasure(rng, arena, &record->erasure);
}

#define KIND(name, id, file, stem, json)                                                           \
    {                                                                                              \
        name, id, schemas__avsc_##file, &schemas__avsc_##file##_len, &schemas__target_##stem,      \
            json, make_##stem, encode_##stem, encode_json_##stem, decode_##stem, same_##stem       \
    }

const struct kind kinds[] = {
    KIND("Event", SCHEMAS_EVENT, event, event, true),
    KIND("Item", SCHEMAS_ITEM, item, item, true),
    KIND("Recommendations", SCHEMAS_RECOMMENDATIONS, recommendations, list, false),
    KIND("Related", SCHEMAS_RELATED, related, related, true),
    KIND("Trending", SCHEMAS_TRENDING, trending, trending, true),
    KIND("TrainingExample", SCHEMAS_TRAINING_EXAMPLE, training_example, example, false),
    KIND("Erasure", SCHEMAS_ERASURE, erasure, erasure, true),
};
const size_t n_kinds = sizeof kinds / sizeof *kinds;

void coding_open(struct coding *coding, enum value_format format, uint64_t seed)
{
    coding->schemas = fixture_open(format);
    coding->arena = fixture_arena();
    coding->back = fixture_arena();
    buf_init(&coding->out, 256 * 1024);
    rng_init(&coding->rng, seed);
}

void coding_close(struct coding *coding)
{
    buf_fini(&coding->out);
    arena_free(coding->arena);
    arena_free(coding->back);
    schemas_close(coding->schemas);
}
