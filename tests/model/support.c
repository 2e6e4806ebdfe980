/* What the tests of encoders share. */
#include "tests/model/support.h"

#include "base/mem.h"
#include "tests/test.h"

void support_window(const struct model *m, struct rng *rng, int T, struct model_input *input)
{
    for (int t = 0; t < T; t++)
        input[t] = (struct model_input){.item = (int32_t)rng_below(rng, (uint64_t)m->config.N),
                                        .type = (int32_t)rng_below(rng, 11),
                                        .gap_ms = (int64_t)rng_below(rng, 1u << (t % 31))};
}

void support_instruction_sets_agree(struct model *m, int T, uint64_t seed)
{
    static const char *const names[] = {"avx2", "avx512"};
    struct model_scratch *scratch = model_scratch_new(m);
    struct model_input *input = mem_zalloc((size_t)T * sizeof *input);
    size_t bytes = (size_t)m->S * sizeof(float);
    float *state = mem_alloc(bytes), *want = mem_alloc(bytes);
    struct rng rng;
    rng_init(&rng, seed);
    support_window(m, &rng, T, input);
    m->kernels = model__kernels_named("plain", m->config.D);
    model_prefill(m, scratch, T, input, want);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct model__kernels *kernels = model__kernels_named(names[i], m->config.D);
        if (kernels == NULL) {
            printf("  %s: not on this processor\n", names[i]);
            continue;
        }
        m->kernels = kernels;
        model_prefill(m, scratch, T, input, state);
        CHECK_BYTES(state, bytes, want, bytes);
    }
    mem_free(state);
    mem_free(want);
    mem_free(input);
    model_scratch_free(scratch);
}
