#ifndef APP_EVAL_REPORT_H
#define APP_EVAL_REPORT_H

#include "train/train.h"

/* What `freshet eval` prints. Borrowed, all of it. Thread: main's. */
struct eval_report {
    const char *preset; /* name of the protocol that was asked for */
    const struct eval_options *options;
    const struct eval_result *result;
    const struct model *model; /* NULL: none */
    uint32_t by;               /* bit b: groups of enum eval_by b are shown */
};

/* A table for people, on stderr. */
void eval_report_table(const struct eval_report *report);
/* One JSON object on one line of stdout. */
void eval_report_json(const struct eval_report *report);

#endif
