#ifndef APP_PAGE_FILES_H
#define APP_PAGE_FILES_H

#include <stddef.h>

/* The bytes of web/<name>.*, made by scripts/cmake/embed.cmake. */
#define EMBEDDED(name)                                                                             \
    extern const char page__##name[];                                                              \
    extern const size_t page__##name##_len

EMBEDDED(index);
EMBEDDED(style);
EMBEDDED(main);
EMBEDDED(api);
EMBEDDED(cart);
EMBEDDED(charts);
EMBEDDED(dashboard);
EMBEDDED(dom);
EMBEDDED(foryou);
EMBEDDED(icon);
EMBEDDED(live);
EMBEDDED(shop);
EMBEDDED(tile);

#undef EMBEDDED

#endif
