/* Any bytes as a rules file: rules that can be asked, or an error that names the file. */
#include <stdlib.h>
#include <string.h>

#include "app/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct rules *rules = NULL;
    struct event event = {.tenant = STR("t"),
                          .user_id = STR("u"),
                          .time_ms = 1700000000000,
                          .consent = true,
                          .type = EVENT_VIEW};
    if (!rules_parse(&rules, "fuzz.json", (struct str){(const char *)data, size}, &err)) {
        if (err.class != ERR_FATAL || err.exit_code != ERR_EXIT_USAGE ||
            !strstr(err.text, "fuzz.json"))
            abort();
        return 0;
    }
    uint64_t active = rules_active(rules, &event, STR("home")), hard = rules_hard(rules);
    int n = rules_model(rules)->n;
    if (n < 64 && ((active | hard) >> n) != 0) abort();
    for (int i = 0; i < n; i++)
        (void)rules_pin_id(rules, i);
    rules_free(rules);
    return 0;
}
