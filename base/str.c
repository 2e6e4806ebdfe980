/* Numbers as text, without printf. */
#include "base/str.h"

size_t str_put_number(char *out, int64_t number)
{
    char digits[STR_NUMBER_MAX];
    size_t n = 0, len = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        digits[n++] = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (number < 0) out[len++] = '-';
    while (n > 0)
        out[len++] = digits[--n];
    return len;
}
