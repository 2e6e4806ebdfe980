#ifndef APP_NEIGHBOURS_FLAG_H
#define APP_NEIGHBOURS_FLAG_H

#include "base/err.h"
#include "base/options.h"
#include "model/model.h"

/* The flag --neighbours of a verb: "m=500,k=200,reach=2". Thread: main's. */

/* The defaults, and what the flag changes of them. sessions and clicks are 0 unless given.
 * Errors: ERR_FATAL exit 2: no such name, a value out of its bounds. */
MUST_USE bool neighbours_flag_read(const struct options *flags,
                                   struct model_neighbours_options *options, struct err *err);

/* The spec of the flag, to be placed in a verb's table. */
/* clang-format off */
#define NEIGHBOURS_FLAG(group) \
    {"neighbours", OPTION_LIST, "", 0, 0, "", NULL, \
     "Options of the session neighbours, such as m=500,k=200,last=10: m sessions sampled, k neighbours, last items of the " \
     "session; similarity and position (same, linear, div, log, quadratic); idf (none, times, plus), idf_weight; reach (places, " \
     "0 none); half_life_days (0 none); items of a session; sessions, clicks (0: as many as the logs hold).", group}
/* clang-format on */

#endif
