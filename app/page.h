#ifndef APP_PAGE_H
#define APP_PAGE_H

#include <stddef.h>

#include "serve/serve.h"

/* The files of web/, embedded by CMakeLists.txt: a shop and a dashboard that talk to the HTTP API only. */
const struct serve_file *page_files(int *n);

#endif
