#ifndef APP_TRAIN_INPUT_H
#define APP_TRAIN_INPUT_H

#include "base/options.h"
#include "train/train.h"

/* What `freshet train` and `freshet eval` have in common: reading the log that their flags name. Thread: main's. */

/* Reads the files of the list flag `which` with the flags format, map, types and skip-items; draws a progress bar and prints
 * what was read, both to stderr, unless the flag quiet is set. Errors: as train_data_read. */
MUST_USE bool train_input_read(const struct options *flags, const char *which,
                               struct train_data **data, struct err *err);
/* The bit set of a list of event type names; 0 for an empty list. Errors: ERR_FATAL exit 2. */
MUST_USE bool train_input_types(const struct options *flags, const char *which, uint32_t *types,
                                struct err *err);

/* The specs of those flags, to be placed in a verb's table. */
/* clang-format off */
#define TRAIN_INPUT_FLAGS(group) \
    {"input", OPTION_LIST, NULL, 0, 0, "", NULL, \
     "The log file, or several separated by commas, read as one; gzip is recognised.", group}, \
    {"format", OPTION_TEXT, "events", 0, 0, "", NULL, \
     "pairs (`user item` a line, in time order), lines (a session a line), sessions (TSV SessionId ItemId Time) or " \
     "events (CSV with a header).", group}, \
    {"map", OPTION_TEXT, "", 0, 0, "", NULL, \
     "Columns of events: user=visitorid,item=itemid,type=event,time=timestamp, and quantity. user=A|B takes the " \
     "first that is not empty; type==purchase is the same for every row.", group}, \
    {"types", OPTION_LIST, "", 0, 0, "", NULL, \
     "Event types that are read; default: those that enter a user's window (click, view, add_to_cart, purchase, like).", \
     group}, \
    {"skip-items", OPTION_LIST, "", 0, 0, "", NULL, \
     "Item ids that are no products (POST,D,M,BANK CHARGES,gift_*): their rows are left out.", group}, \
    {"tenant", OPTION_TEXT, "", 0, 0, "", NULL, "Whose items these are.", group}, \
    {"quiet", OPTION_BOOL, "false", 0, 0, "", NULL, "No progress bar and no table on stderr.", group}
/* clang-format on */

#endif
