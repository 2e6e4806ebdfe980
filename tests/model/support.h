#ifndef TESTS_MODEL_SUPPORT_H
#define TESTS_MODEL_SUPPORT_H

#include "base/rng.h"
#include "model/internal.h"

/* What the tests of encoders share. */

/* A window of T random steps, with gaps from none to weeks. input (T) written. */
void support_window(const struct model *m, struct rng *rng, int T, struct model_input *input);
/* Every instruction set of this processor makes the state that plain C makes of such a window, to the bit. The model's own
 * kernels are changed. */
void support_instruction_sets_agree(struct model *m, int T, uint64_t seed);

#endif
