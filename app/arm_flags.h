#ifndef APP_ARM_FLAGS_H
#define APP_ARM_FLAGS_H

#include "base/err.h"
#include "base/options.h"
#include "model/model.h"

/* Flags of a verb that hold options of arms: --neighbours "m=500,k=200,reach=2" and --blend "encoder=1,neighbours=0.5". Each has
 * defaults, of which it changes what it names. Thread: main's. */

/* sessions and clicks are 0 unless given.
 * Errors: ERR_FATAL exit 2: no such name, a value out of its bounds. */
MUST_USE bool arm_flags_neighbours(const struct options *flags,
                                   struct model_neighbours_options *options, struct err *err);

struct blend_weights {
    float encoder, popularity, neighbours;
};

/* Errors: as above. */
MUST_USE bool arm_flags_blend(const struct options *flags, struct blend_weights *weights,
                              struct err *err);

/* The specs of the flags, to be placed in a verb's table. */
/* clang-format off */
#define ARM_FLAGS(group) \
    {"neighbours", OPTION_LIST, "", 0, 0, "", NULL, \
     "Options of the session neighbours, such as m=500,k=200,last=10: m sessions sampled, k neighbours, last items of the " \
     "session; similarity and position (same, linear, div, log, quadratic); idf (none, times, plus), idf_weight; reach (places, " \
     "0 none); half_life_days (0 none); items of a session; sessions, clicks (0: as many as the logs hold).", group}, \
    {"blend", OPTION_LIST, "", 0, 0, "", NULL, \
     "Weights of the arms in the blend: encoder=1,popularity=0.03,neighbours=1; 0 leaves one out.", group}
/* clang-format on */

#endif
