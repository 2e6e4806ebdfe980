#ifndef APP_KEYS_H
#define APP_KEYS_H

#include "base/str.h"
#include "schemas/schemas.h"

/* Keys of the records that go out and of the catalogue: parts joined by ':', the tenant first when there is one.
 *
 *   lists      [tenant:]user          related   [tenant:]item:kind
 *   trending   [tenant:]category      items     [tenant:]item
 *
 * Written to out; the str returned points there. Thread: any. */
enum { KEYS_MAX = 3 * SCHEMAS_ID_MAX };

/* Where Java's producers put a record with this key (murmur2), of n partitions. */
int32_t keys_partition(struct str key, int n);
struct str keys_pair(struct str tenant, struct str id, char out[KEYS_MAX]);
struct str keys_related(struct str tenant, struct str item, enum related_kind kind,
                        char out[KEYS_MAX]);

#endif
