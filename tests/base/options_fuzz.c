/* Any bytes as a properties file, into a table with one option of each type: no crash, no leak, and an error always has a
 * text. ${file:...} is cut out: a fuzzer has no business in other files. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/properties.h"

static const struct option_spec specs[] = {
    {"a", OPTION_TEXT, "", 0, 0, "", NULL, "", ""},
    {"b", OPTION_INT, "1", 0, 100, "bytes", NULL, "", ""},
    {"c", OPTION_INT, "1", 0, 0, "ms", NULL, "", ""},
    {"d", OPTION_NUMBER, "1", 0, 1, "", NULL, "", ""},
    {"e", OPTION_BOOL, "true", 0, 0, "", NULL, "", ""},
    {"f", OPTION_ENUM, "x", 0, 0, "", "x|y", "", ""},
    {"g", OPTION_LIST, "", 0, 0, "", NULL, "", ""},
};

static bool set(void *context, const struct properties_entry *entry, struct err *err)
{
    if (strstr(entry->value, "${file:") != NULL) return true;
    struct err own = ERR_INIT;
    (void)err;
    if (!options_set(context, entry->key, entry->value, "fuzz", &own) && own.text[0] == '\0') {
        abort();
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct options *options = options_new(specs, sizeof(specs) / sizeof(specs[0]));
    options_allow_prefix(options, "p.");
    struct err err = ERR_INIT;
    if (!properties_parse((struct str){(const char *)data, size}, "fuzz", set, options, &err) &&
        err.text[0] == '\0') {
        abort();
    }
    options_free(options);
    return 0;
}
