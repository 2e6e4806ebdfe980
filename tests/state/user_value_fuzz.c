/* Stored user values from hostile bytes: decoding never reads out of bounds, and what it accepts encodes to the same
 * bytes. The first byte of the input chooses the shape of the reader. */
#include "state/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    int window_max = 1 + data[0] % 50, floats = data[0] % 7;
    struct str value = {(const char *)data + 1, size - 1};
    struct user user;
    uint32_t n_window = 0, n_encoder = 0;
    user.window = mem_alloc((size_t)window_max * sizeof *user.window);
    user.encoder = mem_alloc((size_t)floats * sizeof *user.encoder);
    if (state__user_decode(value, window_max, floats, &user) == NULL) {
        if (!state__user_shape(value, &n_window, &n_encoder)) abort();
        struct buf again;
        buf_init(&again, size + 1024);
        state__user_encode(&user, floats, &again);
        bool same_shape = n_window <= (uint32_t)window_max && n_encoder == (uint32_t)floats;
        if (same_shape && (again.len != value.len || memcmp(again.data, value.ptr, value.len) != 0))
            abort();
        buf_fini(&again);
    }
    mem_free(user.window);
    mem_free(user.encoder);
    return 0;
}
