/* The safetensors container: a JSON header and raw little-endian numbers.
 *
 *   OFFSET    SIZE  MEANING
 *   0         8     n, length of the header, little-endian
 *   8         n     JSON object: tensor name -> {"dtype":"F32","shape":[rows,cols],"data_offsets":[b,e]};
 *                   "__metadata__" (an object of texts) is allowed and skipped
 *   8 + n     ...   the tensors; b and e count from here
 *
 * Files come from outside, so the reader believes nothing: the header has a maximum, every tensor lies
 * inside the file, has as many bytes as its shape says, begins where the one before ends (so none overlap
 * and no byte is unaccounted for), and is float32. */

#include "model/internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_AT = 8, MAX_DIM = 1000000000 };

/* ---- reading ---- */

static bool read_shape(const json_t *shape, struct model__tensor_entry *entry, uint64_t *count,
                       struct err *err)
{
    size_t n_dims = json_array_size(shape);
    if (!json_is_array(shape) || n_dims < 1 || n_dims > 3)
        return err_fatal(err, ERR_EXIT_MODEL, "tensor %s: shape must have 1 to 3 numbers",
                         entry->name);
    *count = 1;
    entry->n_dims = (int)n_dims;
    for (size_t d = 0; d < n_dims; d++) {
        const json_t *dim = json_array_get(shape, d);
        json_int_t value = json_is_integer(dim) ? json_integer_value(dim) : 0;
        if (value < 1 || value > MAX_DIM || *count > UINT64_MAX / 8 / (uint64_t)value)
            return err_fatal(err, ERR_EXIT_MODEL, "tensor %s: bad number in shape", entry->name);
        entry->dims[d] = (int)value;
        *count *= (uint64_t)value;
    }
    return true;
}

/* data_bytes: what the file holds behind the header, which ends at data_at. */
static bool read_entry(const char *name, const json_t *value, uint64_t data_at, uint64_t data_bytes,
                       struct model__tensor_entry *entry, struct err *err)
{
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof entry->name)
        return err_fatal(err, ERR_EXIT_MODEL, "unknown tensor \"%.60s\"", name);
    memcpy(entry->name, name, len + 1);
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (dtype == NULL || strcmp(dtype, "F32") != 0)
        return err_fatal(err, ERR_EXIT_MODEL, "tensor %s: dtype must be F32, is %.20s", name,
                         dtype != NULL ? dtype : "missing");
    uint64_t count = 0;
    if (!read_shape(json_object_get(value, "shape"), entry, &count, err)) return false;
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
        json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from))
        return err_fatal(err, ERR_EXIT_MODEL, "tensor %s: bad data_offsets", name);
    uint64_t begin = (uint64_t)json_integer_value(from), end = (uint64_t)json_integer_value(to);
    if (end > data_bytes)
        return err_fatal(err, ERR_EXIT_MODEL,
                         "tensor %s ends at byte %llu of data, the file has %llu: truncated?", name,
                         (unsigned long long)end, (unsigned long long)data_bytes);
    if (end - begin != count * sizeof(float))
        return err_fatal(err, ERR_EXIT_MODEL, "tensor %s: %llu bytes do not fit its shape", name,
                         (unsigned long long)(end - begin));
    entry->begin = data_at + begin;
    entry->end = data_at + end;
    return true;
}

static int by_begin(const void *a, const void *b)
{
    const struct model__tensor_entry *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Sorts the table by place and checks that the tensors cover the data without overlap or hole. */
static bool check_cover(struct model__tensor_entry *table, int n, uint64_t data_at,
                        uint64_t file_bytes, struct err *err)
{
    qsort(table, (size_t)n, sizeof *table, by_begin);
    uint64_t at = data_at;
    for (int i = 0; i < n; i++) {
        if (table[i].begin != at)
            return err_fatal(err, ERR_EXIT_MODEL, "tensor %s overlaps another or leaves a hole",
                             table[i].name);
        at = table[i].end;
    }
    if (at != file_bytes)
        return err_fatal(err, ERR_EXIT_MODEL, "%llu bytes behind the last tensor",
                         (unsigned long long)(file_bytes - at));
    return true;
}

static bool read_entries(json_t *header, uint64_t data_at, uint64_t file_bytes,
                         struct model__tensor_entry *table, int max, int *n, struct err *err)
{
    const char *name;
    json_t *value;
    *n = 0;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        if (*n == max) return err_fatal(err, ERR_EXIT_MODEL, "more than %d tensors", max);
        if (!read_entry(name, value, data_at, file_bytes - data_at, &table[*n], err)) return false;
        (*n)++;
    }
    return check_cover(table, *n, data_at, file_bytes, err);
}

bool model__safetensors_parse(struct str bytes, struct model__tensor_entry *table, int max, int *n,
                              struct err *err)
{
    struct cursor cursor = {.ptr = (const uint8_t *)bytes.ptr, .left = bytes.len};
    uint64_t len = cursor_u64(&cursor);
    if (cursor.failed || len > cursor.left)
        return err_fatal(err, ERR_EXIT_MODEL,
                         "shorter than its header: truncated, or no safetensors");
    if (len > MODEL__SAFETENSORS_MAX_HEADER)
        return err_fatal(err, ERR_EXIT_MODEL, "header of %llu bytes, at most %d are read",
                         (unsigned long long)len, MODEL__SAFETENSORS_MAX_HEADER);
    json_error_t why;
    json_t *header =
        json_loadb((const char *)cursor.ptr, (size_t)len, JSON_REJECT_DUPLICATES, &why);
    if (header == NULL) return err_fatal(err, ERR_EXIT_MODEL, "header: %s", why.text);
    bool ok = json_is_object(header)
                  ? read_entries(header, HEADER_AT + len, bytes.len, table, max, n, err)
                  : err_fatal(err, ERR_EXIT_MODEL, "header is not an object");
    json_decref(header);
    return ok;
}

/* ---- writing ---- */

void model__safetensors_header(const struct model_param *table, int n, struct buf *out)
{
    size_t at = 0;
    buf_push_u64(out, 0); /* length, filled in below */
    size_t start = out->len;
    buf_push_text(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < n; i++) {
        size_t end = at + table[i].count * sizeof(float);
        buf_push_format(out, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%d", table[i].name,
                        table[i].dims[0]);
        for (int d = 1; d < table[i].n_dims; d++)
            buf_push_format(out, ",%d", table[i].dims[d]);
        buf_push_format(out, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    buf_push_text(out, "}");
    /* Spaces until the data begin at a multiple of 8, as the reference writer does. */
    while (!out->failed && (out->len - start) % 8 != 0)
        buf_push_byte(out, ' ');
    if (out->failed) return;
    uint64_t len = out->len - start;
    for (size_t i = 0; i < HEADER_AT; i++)
        out->data[start - HEADER_AT + i] = (uint8_t)(len >> (8 * i));
}
