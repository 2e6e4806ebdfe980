#ifndef APP_ARM_FLAGS_H
#define APP_ARM_FLAGS_H

#include "base/err.h"
#include "base/options.h"
#include "model/model.h"

/* Flags of a verb that hold options of arms: --neighbours "m=500,k=200,reach=2" and --blend "encoder=1,neighbours=0.5". The names
 * are keys of the configuration without what all of them share, the defaults are the pipeline's. Thread: main's. */

/* sessions_max and clicks_max are 0. gap_ms: session.gap.ms; 0 when the log's format has the sessions itself and the flag does
 * not name it. Errors: ERR_FATAL exit 2: no such name, a value out of its bounds. */
MUST_USE bool arm_flags_neighbours(const struct options *flags,
                                   struct model_neighbours_options *options, int64_t *gap_ms,
                                   struct err *err);

/* Errors: as above. */
MUST_USE bool arm_flags_related(const struct options *flags, struct model_related_rules *rules,
                                struct err *err);
/* The configuration's defaults. */
struct model_related_rules arm_flags_related_default(void);

struct blend_weights {
    float encoder, popularity, neighbours, related, trending;
};

/* Errors: as above. */
MUST_USE bool arm_flags_blend(const struct options *flags, struct blend_weights *weights,
                              struct err *err);

/* The specs of the flags, to be placed in a verb's table. */
/* clang-format off */
#define ARM_FLAG_NEIGHBOURS(group) \
    {"neighbours", OPTION_LIST, "", 0, 0, "", NULL, \
     "Options of the session neighbours, as neighbours.* of the configuration: m=500,k=200,last=10,reach=2,half.life.ms=7d; and " \
     "session.gap.ms, which logs of sessions or lines do without.", group}
#define ARM_FLAGS(group) \
    ARM_FLAG_NEIGHBOURS(group), \
    {"related-rules", OPTION_LIST, "", 0, 0, "", NULL, \
     "How what goes together is counted, as related.* of the configuration: view.half.life.ms=30d,session.items=5,partners.max=64.", group}, \
    {"blend", OPTION_LIST, "", 0, 0, "", NULL, \
     "Weights of the arms in the blend, as blend.*.weight: encoder=1,popularity=0.03,neighbours=0.5,related=1,trending=0.3; 0 leaves one out. With " \
     "leave-one-out there is neither related nor trending.", group}
/* clang-format on */

#endif
