/* The item that the encoder's list names as its reason: without it in the history the listed item falls. */
#include "tests/test.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "schemas/schemas.h"
#include "tests/train/support.h"

enum { GROUPS = 12, MEMBERS = 8, USERS = 900, LENGTH = 8, K = 10 };

/* Users who walk through two groups of items in turns: what comes next is of one of the two. */
static char *two_tastes(uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    size_t room = (size_t)USERS * LENGTH * 16 + 1, at = 0;
    char *text = mem_alloc(room);
    for (int u = 0; u < USERS; u++) {
        uint64_t groups[2] = {rng_below(&rng, GROUPS), rng_below(&rng, GROUPS)};
        for (int t = 0; t < LENGTH; t++)
            at += (size_t)snprintf(
                text + at, room - at, "u%d i%d\n", u,
                (int)(groups[rng_below(&rng, 2)] * MEMBERS + rng_below(&rng, MEMBERS)));
    }
    return text;
}

/* ln of the softmax of the item's score for a history, and all scores. */
static double log_share(const struct model *model, struct model_scratch *scratch, int T,
                        const struct model_input *inputs, int32_t item, float *scores)
{
    struct model_info info = model_info(model);
    float *state = mem_aligned(64, (size_t)info.S * sizeof *state);
    double sum = 0;
    model_prefill(model, scratch, T, inputs, state);
    model_score(model, model_state_vector(model, state), scores);
    for (int i = 0; i < info.N; i++)
        sum += exp((double)scores[i]);
    mem_free(state);
    return (double)scores[item] - log(sum);
}

/* Whether the listed item falls when `gone` is taken out of the history. */
static bool is_falling(const struct model *model, struct model_scratch *scratch, int T,
                       const struct model_input *inputs, int32_t item, int32_t gone)
{
    struct model_input rest[LENGTH];
    float scores[GROUPS * MEMBERS];
    int n = 0;
    for (int t = 0; t < T; t++)
        if (inputs[t].item != gone) rest[n++] = inputs[t];
    return log_share(model, scratch, n, rest, item, scores) <
           log_share(model, scratch, T, inputs, item, scores);
}

static void named_items_carry_the_list(void)
{
    char *text = two_tastes(test_seed());
    struct train_data *data = support_data(text, LOGFILE_PAIRS, NULL);
    struct train_options options = support_options();
    struct train_result result;
    options.epochs = 15;
    struct model *model = support_learn(data, &options, &result);
    struct model_scratch *scratch = model_scratch_new(model);
    struct rng rng;
    int named = 0, falls = 0, any = 0;
    rng_init(&rng, test_seed() + 1);
    for (int u = 0; u < 100; u++) {
        struct model_input inputs[LENGTH] = {0};
        struct model_because because = {0};
        float scores[GROUPS * MEMBERS];
        int T = LENGTH - 2;
        for (int t = 0; t < T; t++)
            inputs[t].item = model_item_index(
                model,
                schemas_item_key(STR(""), data->item_ids[data->events[u * LENGTH + t].item]));
        for (int t = T - 1; t >= 0; t--)
            (void)model_because_add(model, &because, inputs[t].item);
        (void)log_share(model, scratch, T, inputs, 0, scores);
        for (int32_t item = 0; item < model_info(model).N; item++) {
            int better = 0;
            for (int i = 0; i < model_info(model).N; i++)
                better += scores[i] > scores[item];
            if (better >= K) continue;
            int32_t why = model_because(model, &because, item);
            named++;
            falls += is_falling(model, scratch, T, inputs, item, why);
            any += is_falling(model, scratch, T, inputs, item,
                              because.items[rng_below(&rng, (uint64_t)because.n)]);
        }
    }
    printf("  %d items listed: %d fall without the named item, %d without any one\n", named, falls,
           any);
    CHECK(named >= 900);
    CHECK(falls >= named * 90 / 100);
    CHECK(falls >= any + named / 10);
    model_scratch_free(scratch);
    model_free(model);
    train_data_free(data);
    mem_free(text);
}

int main(void)
{
    CASE(named_items_carry_the_list);
    return 0;
}
