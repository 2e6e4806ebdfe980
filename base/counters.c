/* Counters: a flat array of cells for each slot, laid out by the table.
 *
 *   spec            0: total     1: total by reason      2: latency
 *   cells   slot 0  [ n ]        [ n ][ n ][ n ]         [ 528 buckets ][ sum ][ count ]
 *           slot 1  [ n ]        [ n ][ n ][ n ]         ...
 *
 * Slots begin on cache lines of their own, so threads that count never share one. A cell is read while its owner writes it:
 * each cell is a whole number at any moment, but two cells may be of different moments. Cells are written with release and
 * read with acquire (plain moves on x86), so the order in which a thread counts is kept for who reads in that order.
 *
 * Buckets of a latency, in us: 0, 1, ... 15 have one each; behind them each doubling [2^k, 2^(k+1)) is cut into 16 equal
 * parts, up to 2^36 us (19 hours). */
#include "base/counters.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/sync.h"

enum {
    SUB_BITS = 4, /* 16 buckets to a doubling */
    SUBS = 1 << SUB_BITS,
    VALUE_BITS = 36, /* 2^36 us are 19 hours; longer ones count as that */
    BUCKETS = (VALUE_BITS - SUB_BITS + 1) * SUBS,
    /* A latency's cells: its buckets, then the sum and the number of observations. */
    CELL_SUM = BUCKETS,
    CELL_COUNT,
    LATENCY_CELLS,
    CACHE_LINE = 64,
    LABELS = 2,
    /* Edges that /metrics shows: 2^6 us (64 us) to 2^26 us (67 s). */
    EDGE_FIRST = 6,
    EDGE_LAST = 26,
};

struct counters_slot {
    struct counters *counters;
    struct sync_int *cells; /* (n_cells) */
};

struct counters {
    const struct counter_spec *specs;
    int n_specs;
    int n_slots;
    int *first;     /* (n_specs) first cell of each spec */
    size_t n_cells; /* of one slot, rounded up to whole cache lines */
    struct counters_slot *slots;
};

/* ---- layout ---- */

/* Series of a spec: one without labels. */
static int labels_of(const struct counter_spec *spec)
{
    int n = 1;
    for (int i = 0; i < LABELS; i++)
        if (spec->labels[i].name != NULL) n *= spec->labels[i].n;
    return n;
}

/* Cells of one series. */
static int cells_of(const struct counter_spec *spec)
{
    return spec->type == COUNTER_LATENCY ? LATENCY_CELLS : 1;
}

struct counters *counters_new(const struct counter_spec *specs, int n_specs, int n_slots)
{
    struct counters *counters = mem_zalloc(sizeof(*counters));
    counters->specs = specs;
    counters->n_specs = n_specs;
    counters->n_slots = n_slots;
    counters->first = mem_alloc(((size_t)n_specs + 1) * sizeof(*counters->first));
    int cells = 0;
    for (int i = 0; i < n_specs; i++) {
        assert(labels_of(&specs[i]) > 0);
        counters->first[i] = cells;
        cells += labels_of(&specs[i]) * cells_of(&specs[i]);
    }
    /* Rounded up, and at least one cell too many, so that n_cells is never 0. */
    size_t per_line = CACHE_LINE / sizeof(struct sync_int);
    counters->n_cells = ((size_t)cells + per_line) / per_line * per_line;
    counters->slots = mem_zalloc(((size_t)n_slots + 1) * sizeof(*counters->slots));
    for (int i = 0; i < n_slots; i++) {
        counters->slots[i].counters = counters;
        counters->slots[i].cells =
            mem_aligned(CACHE_LINE, counters->n_cells * sizeof(struct sync_int));
    }
    return counters;
}

void counters_free(struct counters *counters)
{
    if (counters == NULL) return;
    for (int i = 0; i < counters->n_slots; i++)
        mem_free(counters->slots[i].cells);
    mem_free(counters->slots);
    mem_free(counters->first);
    mem_free(counters);
}

struct counters_slot *counters_slot(struct counters *counters, int slot)
{
    assert(slot >= 0 && slot < counters->n_slots);
    return &counters->slots[slot];
}

/* The index of the first cell of a spec's label. */
static size_t cell_at(const struct counters *counters, int spec, int label)
{
    assert(spec >= 0 && spec < counters->n_specs);
    assert(label >= 0 && label < labels_of(&counters->specs[spec]));
    return (size_t)(counters->first[spec] + label * cells_of(&counters->specs[spec]));
}

/* ---- counting ---- */

/* Values below 16 have a bucket each; above, the top SUB_BITS + 1 bits choose it. */
static int bucket_of(int64_t us)
{
    const int64_t largest = (INT64_C(1) << VALUE_BITS) - 1;
    if (us < 0) us = 0;
    if (us > largest) us = largest;
    if (us < SUBS) return (int)us;
    int shift = 63 - __builtin_clzll((unsigned long long)us) - SUB_BITS;
    return (shift + 1) * SUBS + (int)((us >> shift) & (SUBS - 1));
}

/* The first value behind the bucket. */
static int64_t bucket_end(int bucket)
{
    if (bucket < SUBS) return bucket + 1;
    int shift = bucket / SUBS - 1;
    return (INT64_C(1) << shift) * (SUBS + bucket % SUBS + 1);
}

void counters_add(struct counters_slot *slot, int spec, int label, int64_t delta)
{
    assert(slot->counters->specs[spec].type == COUNTER_TOTAL);
    sync_int_own_add(&slot->cells[cell_at(slot->counters, spec, label)], delta);
}

void counters_set(struct counters_slot *slot, int spec, int label, int64_t level)
{
    assert(slot->counters->specs[spec].type != COUNTER_LATENCY);
    sync_int_set_release(&slot->cells[cell_at(slot->counters, spec, label)], level);
}

void counters_observe(struct counters_slot *slot, int spec, int label, int64_t us)
{
    assert(slot->counters->specs[spec].type == COUNTER_LATENCY);
    struct sync_int *cells = &slot->cells[cell_at(slot->counters, spec, label)];
    sync_int_own_add(&cells[bucket_of(us)], 1);
    sync_int_own_add(&cells[CELL_SUM], us > 0 ? us : 0);
    sync_int_own_add(&cells[CELL_COUNT], 1);
}

/* ---- reading ---- */

/* One cell over all slots. */
static int64_t sum_of(const struct counters *counters, size_t cell)
{
    int64_t sum = 0;
    for (int i = 0; i < counters->n_slots; i++)
        sum += sync_int_get_acquire(&counters->slots[i].cells[cell]);
    return sum;
}

/* One cell that holds moments: the first or the last of the slots that have one. */
static int64_t moment_of(const struct counters *counters, size_t cell, enum counter_type type)
{
    int64_t found = 0;
    for (int i = 0; i < counters->n_slots; i++) {
        int64_t moment = sync_int_get_acquire(&counters->slots[i].cells[cell]);
        bool is_better = type == COUNTER_EARLIEST ? moment < found : moment > found;
        if (moment != 0 && (found == 0 || is_better)) found = moment;
    }
    return found;
}

static int64_t merged(const struct counters *counters, size_t cell, enum counter_type type)
{
    bool is_moment = type == COUNTER_EARLIEST || type == COUNTER_LATEST;
    return is_moment ? moment_of(counters, cell, type) : sum_of(counters, cell);
}

int64_t counters_get(const struct counters *counters, int spec, int label)
{
    size_t cell = cell_at(counters, spec, label);
    enum counter_type type = counters->specs[spec].type;
    return merged(counters, type == COUNTER_LATENCY ? cell + CELL_COUNT : cell, type);
}

int64_t counters_sum(const struct counters *counters, int spec)
{
    int64_t sum = 0;
    for (int label = 0; label < labels_of(&counters->specs[spec]); label++)
        sum += counters_get(counters, spec, label);
    return sum;
}

double counters_value(const struct counters *counters, int spec, int label)
{
    double unit = counters->specs[spec].unit;
    return (double)counters_get(counters, spec, label) * (unit != 0.0 ? unit : 1.0);
}

int64_t counters_quantile(const struct counters *counters, int spec, int label, double q)
{
    assert(counters->specs[spec].type == COUNTER_LATENCY);
    size_t cell = cell_at(counters, spec, label);
    int64_t total = 0, seen = 0;
    /* The buckets are added up themselves: CELL_COUNT may be a moment ahead of them. */
    for (int b = 0; b < BUCKETS; b++)
        total += sum_of(counters, cell + (size_t)b);
    for (int b = 0; b < BUCKETS; b++) {
        seen += sum_of(counters, cell + (size_t)b);
        if (seen > 0 && (double)seen >= q * (double)total) return bucket_end(b) - 1;
    }
    return 0;
}

/* ---- /metrics ---- */

/* A label's value: `\\`, `"` and the end of a line are escaped. A help text has no quotes around it: there `"` stays. */
static void push_escaped(struct buf *out, const char *text, bool is_quoted)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\' || *c == '\n' || (is_quoted && *c == '"')) buf_push_byte(out, '\\');
        buf_push_byte(out, *c == '\n' ? 'n' : (uint8_t)*c);
    }
}

static bool is_shown(const struct counter_spec *spec, int label)
{
    int inner = spec->labels[1].name != NULL ? spec->labels[1].n : 1;
    return spec->labels[0].name == NULL || spec->labels[0].value(label / inner) != NULL;
}

/* {label="value",...} with `more` behind it inside the braces; nothing when there are neither. */
static void push_labels(struct buf *out, const struct counter_spec *spec, int label,
                        const char *more)
{
    int inner = spec->labels[1].name != NULL ? spec->labels[1].n : 1;
    int values[LABELS] = {label / inner, label % inner};
    const char *before = "{";
    for (int i = 0; i < LABELS; i++) {
        const struct counter_label *one = &spec->labels[i];
        if (one->name == NULL) continue;
        buf_push_format(out, "%s%s=\"", before, one->name);
        push_escaped(out, one->value(values[i]), true);
        buf_push_byte(out, '"');
        before = ",";
    }
    if (more[0] != '\0') buf_push_format(out, "%s%s", before, more);
    if (more[0] != '\0' || before[0] == ',') buf_push_byte(out, '}');
}

/* _bucket lines at powers of two (each is a border of buckets, so the counts are exact), then _sum and _count. The count is
 * that of the buckets: what a scraper reads must agree with itself. */
static void render_latency(const struct counters *counters, int spec, int label, struct buf *out)
{
    const struct counter_spec *s = &counters->specs[spec];
    size_t cell = cell_at(counters, spec, label);
    int64_t seen = 0;
    int b = 0;
    for (int edge = EDGE_FIRST; edge <= EDGE_LAST; edge++) {
        while (b < BUCKETS && bucket_end(b) <= INT64_C(1) << edge) {
            seen += sum_of(counters, cell + (size_t)b++);
        }
        struct buf more;
        buf_init(&more, 64);
        buf_push_format(&more, "le=\"%.6f\"", (double)(INT64_C(1) << edge) / 1e6);
        buf_push_byte(&more, 0);
        buf_push_format(out, "%s_bucket", s->name);
        push_labels(out, s, label, (const char *)more.data);
        buf_push_format(out, " %lld\n", (long long)seen);
        buf_fini(&more);
    }
    while (b < BUCKETS)
        seen += sum_of(counters, cell + (size_t)b++);
    buf_push_format(out, "%s_bucket", s->name);
    push_labels(out, s, label, "le=\"+Inf\"");
    buf_push_format(out, " %lld\n%s_sum", (long long)seen, s->name);
    push_labels(out, s, label, "");
    buf_push_format(out, " %.6f\n%s_count", (double)sum_of(counters, cell + CELL_SUM) / 1e6,
                    s->name);
    push_labels(out, s, label, "");
    buf_push_format(out, " %lld\n", (long long)seen);
}

static void render_number(const struct counters *counters, int spec, int label, struct buf *out)
{
    const struct counter_spec *s = &counters->specs[spec];
    buf_push_text(out, s->name);
    push_labels(out, s, label, "");
    if (s->unit != 0.0)
        buf_push_format(out, " %.15g\n", counters_value(counters, spec, label));
    else
        buf_push_format(out, " %lld\n", (long long)counters_get(counters, spec, label));
}

void counters_render(const struct counters *counters, struct buf *out)
{
    static const char *const types[] = {[COUNTER_TOTAL] = "counter",
                                        [COUNTER_GAUGE] = "gauge",
                                        [COUNTER_EARLIEST] = "gauge",
                                        [COUNTER_LATEST] = "gauge",
                                        [COUNTER_LATENCY] = "histogram"};
    for (int i = 0; i < counters->n_specs; i++) {
        const struct counter_spec *spec = &counters->specs[i];
        buf_push_format(out, "# HELP %s ", spec->name);
        push_escaped(out, spec->help, false);
        buf_push_format(out, "\n# TYPE %s %s\n", spec->name, types[spec->type]);
        for (int label = 0; label < labels_of(spec); label++) {
            if (!is_shown(spec, label)) continue;
            if (spec->type == COUNTER_LATENCY)
                render_latency(counters, i, label, out);
            else
                render_number(counters, i, label, out);
        }
    }
}

/* ---- copies ---- */

struct counters *counters_like(const struct counters *from)
{
    return counters_new(from->specs, from->n_specs, 1);
}

void counters_copy(struct counters *into, const struct counters *from)
{
    assert(into->n_slots == 1 && into->specs == from->specs);
    for (int i = 0; i < from->n_specs; i++) {
        const struct counter_spec *spec = &from->specs[i];
        size_t first = cell_at(from, i, 0), n = (size_t)(labels_of(spec) * cells_of(spec));
        for (size_t c = first; c < first + n; c++)
            sync_int_set(&into->slots[0].cells[c], merged(from, c, spec->type));
    }
}

void counters_subtract(struct counters *into, const struct counters *earlier)
{
    assert(into->n_slots == 1 && earlier->n_slots == 1 && into->specs == earlier->specs);
    for (int i = 0; i < into->n_specs; i++) {
        const struct counter_spec *spec = &into->specs[i];
        if (spec->type != COUNTER_TOTAL && spec->type != COUNTER_LATENCY) continue;
        size_t first = cell_at(into, i, 0), n = (size_t)(labels_of(spec) * cells_of(spec));
        for (size_t c = first; c < first + n; c++)
            sync_int_own_add(&into->slots[0].cells[c], -sync_int_get(&earlier->slots[0].cells[c]));
    }
}
