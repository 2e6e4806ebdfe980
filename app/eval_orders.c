/* freshet eval --protocol baskets: flags in, table and JSON object out. */
#include "app/eval_orders.h"

#include <stdio.h>
#include <string.h>

#include "app/train_input.h"
#include "base/buf.h"
#include "base/progress.h"

_Static_assert((int)EVAL_K_MAX <= (int)BASKET_K_MAX, "--k is read for both");

enum { PROMILLE = 1000, JSON_MAX = 1 << 16 };

static const double DAY_MS = 86400000.0;

/* Flags of other protocols: given here, they would be passed over in silence. */
static const char *const no_flags[] = {
    "model",  "test",  "split-time", "mask",          "min-events",
    "window", "arms",  "neighbours", "related-rules", "blend",
    "fusion", "learn", "by",         "against",       "targets"};

static bool read_flags(const struct options *flags, const int *k, int n_k, struct basket_options *o,
                       struct err *err)
{
    for (size_t i = 0; i < sizeof no_flags / sizeof *no_flags; i++) {
        if (options_is_set(flags, no_flags[i]))
            return err_fatal(err, ERR_EXIT_USAGE, "--protocol baskets takes no --%s", no_flags[i]);
    }
    if (k[n_k - 1] > 100)
        return err_fatal(err, ERR_EXIT_USAGE, "--k: --protocol baskets takes 1 to 100");
    *o = (struct basket_options){
        .from = options_number(flags, "split-orders"),
        .until = options_number(flags, "until-orders"),
        .given = (int)options_int(flags, "given"),
        .score = {.measure = (enum model_measure)options_enum(flags, "score"),
                  .prior = options_number(flags, "prior"),
                  .damping = options_number(flags, "damping")},
        .half_life_ms = options_number(flags, "pair-half-life-days") * DAY_MS,
        .partners_max = (int)options_int(flags, "partners"),
        .basket_max = (int)options_int(flags, "basket-max"),
        .popular_half_life_ms = options_number(flags, "half-life-days") * DAY_MS,
        .n_k = n_k,
        .resamples = (int)options_int(flags, "resamples"),
        .seed = (uint64_t)options_int(flags, "seed")};
    memcpy(o->k, k, (size_t)n_k * sizeof *k);
    return true;
}

/* ---- the table ---- */

static void print_table(const struct basket_options *o, const struct basket_result *r)
{
    (void)fprintf(stderr,
                  "%llu orders, %llu asked with %llu queries; %llu over --basket-max; %d items; of "
                  "the targets %.0f %% head, %.0f %% mid, %.0f %% tail\n\n%-16s %4s",
                  (unsigned long long)r->orders, (unsigned long long)r->asked,
                  (unsigned long long)r->queries, (unsigned long long)r->skipped, r->items,
                  100 * r->band_share[BAND_HEAD], 100 * r->band_share[BAND_MID],
                  100 * r->band_share[BAND_TAIL], "", "k");
    (void)fprintf(stderr, " %7s %17s %16s %7s %7s %7s %7s %9s\n", "HR", "95 %", "ratio to this",
                  "any", "head", "mid", "tail", "coverage");
    for (int arm = 0; arm < BASKET_ARMS; arm++) {
        const struct basket_metrics *m = &r->arms[arm];
        for (int i = 0; i < o->n_k; i++) {
            (void)fprintf(stderr, "%-16s %4d %7.4f [%7.4f %7.4f]", i ? "" : basket_arm_names[arm],
                          o->k[i], m->hr[i], m->low[i], m->high[i]);
            (void)fprintf(stderr, "  [%6.2f %6.2f] %7.4f %7.4f %7.4f %7.4f %9.4f\n",
                          m->ratio_low[i], m->ratio_high[i], m->any[i], m->band[BAND_HEAD][i],
                          m->band[BAND_MID][i], m->band[BAND_TAIL][i], m->coverage[i]);
        }
    }
}

/* ---- JSON ---- */

static void push_arm(struct buf *out, const struct basket_options *o,
                     const struct basket_metrics *m)
{
    for (int i = 0; i < o->n_k; i++) {
        int k = o->k[i];
        buf_push_format(out, "%s\"hr@%d\":%.6f,\"any@%d\":%.6f,\"coverage@%d\":%.6f", i ? "," : "",
                        k, m->hr[i], k, m->any[i], k, m->coverage[i]);
        for (int b = 0; b < BANDS; b++)
            buf_push_format(out, ",\"hr_%s@%d\":%.6f", basket_band_names[b], k, m->band[b][i]);
    }
    if (o->resamples == 0) return;
    buf_push_text(out, ",\"interval\":{");
    for (int i = 0; i < o->n_k; i++)
        buf_push_format(out, "%s\"hr@%d\":[%.6f,%.6f],\"ratio@%d\":[%.4f,%.4f]", i ? "," : "",
                        o->k[i], m->low[i], m->high[i], o->k[i], m->ratio_low[i], m->ratio_high[i]);
    buf_push_text(out, "}");
}

static void print_json(const struct basket_options *o, const struct basket_result *r)
{
    struct buf out;
    buf_init(&out, JSON_MAX);
    buf_push_format(&out, "{\"protocol\":\"baskets\",\"split_orders\":%g,\"until_orders\":%g,",
                    o->from, o->until);
    buf_push_format(&out, "\"given\":%d,\"score\":\"%s\",\"prior\":%g,\"damping\":%g,", o->given,
                    model_measure_names[o->score.measure], o->score.prior, o->score.damping);
    buf_push_format(&out, "\"pair_half_life_days\":%g,\"partners\":%d,\"basket_max\":%d,",
                    o->half_life_ms / DAY_MS, o->partners_max, o->basket_max);
    buf_push_format(&out, "\"resamples\":%d,\"seed\":%llu,\"items\":%d,", o->resamples,
                    (unsigned long long)o->seed, r->items);
    buf_push_format(&out, "\"orders\":%llu,\"asked\":%llu,\"queries\":%llu,\"over_max\":%llu",
                    (unsigned long long)r->orders, (unsigned long long)r->asked,
                    (unsigned long long)r->queries, (unsigned long long)r->skipped);
    for (int b = 0; b < BANDS; b++)
        buf_push_format(&out, ",\"share_%s\":%.4f", basket_band_names[b], r->band_share[b]);
    for (int arm = 0; arm < BASKET_ARMS; arm++) {
        buf_push_format(&out, ",\"%s\":{", basket_arm_names[arm]);
        push_arm(&out, o, &r->arms[arm]);
        buf_push_text(&out, "}");
    }
    printf("%.*s}\n", (int)out.len, (const char *)out.data);
    buf_fini(&out);
}

static void show(void *context, double share)
{
    progress_update(context, (uint64_t)(share * PROMILLE), NULL);
}

bool eval_orders_run(const struct options *flags, const int *k, int n_k, struct err *err)
{
    struct basket_options options;
    struct train_data *data = NULL;
    if (!read_flags(flags, k, n_k, &options, err)) return false;
    if (!train_input_read(flags, "input", &data, err)) return false;
    bool quiet = options_bool(flags, "quiet");
    struct progress_options bar = {
        .what = "eval", .unit = "", .total = PROMILLE, .quiet = quiet, .fd = 2};
    struct progress *progress = progress_new(&bar);
    struct basket_result result;
    options.progress = show;
    options.context = progress;
    bool ok = eval_baskets(data, &options, &result, err);
    progress_end(progress);
    if (ok && !quiet) print_table(&options, &result);
    if (ok) print_json(&options, &result);
    train_data_free(data);
    return ok;
}
