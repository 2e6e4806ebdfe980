#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include "base/options.h"

/* The table itself is app_config_specs (app/app.h). */

/* Allows the keys that go to librdkafka as they are: consumer., producer., security., sasl., ssl. */
void app_config_prefixes(struct options *options);

#endif
