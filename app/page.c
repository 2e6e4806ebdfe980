/* Where each file of the page is found, and what it is. */
#include "app/page.h"

#include "app/page_files.h"

#define HTML   "text/html; charset=utf-8"
#define CSS    "text/css; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"
#define SVG    "image/svg+xml"

enum { FILES = 13 };

/* The lengths are known to the linker only: the table is filled by code. */
const struct serve_file *page_files(int *n)
{
    static struct serve_file files[FILES];
    int at = 0;
#define FILE_OF(where, what, name)                                                                 \
    files[at++] =                                                                                  \
        (struct serve_file){where, what, (const uint8_t *)page__##name, page__##name##_len}
    FILE_OF("/", HTML, index);
    FILE_OF("/style.css", CSS, style);
    FILE_OF("/icon.svg", SVG, icon);
    FILE_OF("/main.js", SCRIPT, main);
    FILE_OF("/api.js", SCRIPT, api);
    FILE_OF("/live.js", SCRIPT, live);
    FILE_OF("/dom.js", SCRIPT, dom);
    FILE_OF("/tile.js", SCRIPT, tile);
    FILE_OF("/charts.js", SCRIPT, charts);
    FILE_OF("/foryou.js", SCRIPT, foryou);
    FILE_OF("/shop.js", SCRIPT, shop);
    FILE_OF("/cart.js", SCRIPT, cart);
    FILE_OF("/dashboard.js", SCRIPT, dashboard);
#undef FILE_OF
    *n = at;
    return files;
}
