/* What an evaluation found, as a table for people and as one JSON object. */
#include "app/eval_report.h"

#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"

enum { JSON_MAX = 1 << 20 };

/* The metrics as they are printed: a column of the table, keys of the JSON object. */
static const struct column {
    const char *title; /* NULL: not in the table */
    const char *key;
    size_t offset; /* in struct eval_metrics */
    int width, digits;
} columns[] = {
    {"HR=recall", "hr", offsetof(struct eval_metrics, hr), 9, 4},
    {NULL, "recall", offsetof(struct eval_metrics, hr), 0, 0},
    {"NDCG", "ndcg", offsetof(struct eval_metrics, ndcg), 7, 4},
    {"MRR", "mrr", offsetof(struct eval_metrics, mrr), 7, 4},
    {"prec.", "precision", offsetof(struct eval_metrics, precision), 7, 4},
    {"F1", "f1", offsetof(struct eval_metrics, f1), 7, 4},
    {"coverage", "coverage", offsetof(struct eval_metrics, coverage), 8, 4},
    {"Gini", "gini", offsetof(struct eval_metrics, gini), 7, 4},
    {"novelty", "novelty", offsetof(struct eval_metrics, novelty), 7, 2},
    {"avg.pop.", "popularity", offsetof(struct eval_metrics, popularity), 8, 1},
    {"tail", "tail", offsetof(struct eval_metrics, tail), 6, 3},
    {"divers.", "diversity", offsetof(struct eval_metrics, diversity), 7, 3},
    {"serend.", "serendipity", offsetof(struct eval_metrics, serendipity), 7, 4},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static const double *column_of(const struct eval_metrics *metrics, const struct column *column)
{
    return (const double *)(const void *)((const char *)metrics + column->offset);
}

/* "[0.1234 0.1301]" for each of the first three metrics. */
static void print_bounds(const struct eval_interval *interval, int i)
{
    const struct eval_accuracy *low = &interval->low, *high = &interval->high;
    (void)fprintf(stderr, "  [%7.4f %7.4f]  [%7.4f %7.4f]  [%7.4f %7.4f]\n", low->hr[i],
                  high->hr[i], low->ndcg[i], high->ndcg[i], low->mrr[i], high->mrr[i]);
}

static void print_intervals(const struct eval_options *o, const struct eval_result *r)
{
    (void)fprintf(stderr,
                  "\n95 %% of %d resamples of users (seed %llu)\n%-18s %5s %19s %18s %18s\n",
                  o->resamples, (unsigned long long)o->seed, "", "k", "HR", "NDCG", "MRR");
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        for (int i = 0; r->asked[arm] && i < o->n_k; i++) {
            (void)fprintf(stderr, "%-18s %5d", i ? "" : eval_arm_names[arm], o->k[i]);
            print_bounds(&r->interval[arm], i);
        }
    }
    if (o->against < 0) return;
    (void)fprintf(stderr, "\ndifference from %s\n", eval_arm_names[o->against]);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        for (int i = 0; r->asked[arm] && arm != o->against && i < o->n_k; i++) {
            (void)fprintf(stderr, "%-18s %5d", i ? "" : eval_arm_names[arm], o->k[i]);
            print_bounds(&r->difference[arm], i);
        }
    }
}

/* HR and MRR at the largest k, a column for each arm. */
static void print_groups(const struct eval_options *o, const struct eval_result *r, int by)
{
    int last = o->n_k - 1;
    (void)fprintf(stderr, "\nby %-11s %8s", eval_by_names[by], "targets");
    for (int arm = 0; arm < EVAL_ARMS; arm++)
        if (r->asked[arm]) (void)fprintf(stderr, "  %17s", eval_arm_names[arm]);
    (void)fprintf(stderr, "\n%-14s %8s", "", "");
    for (int arm = 0; arm < EVAL_ARMS; arm++)
        if (r->asked[arm])
            (void)fprintf(stderr, "  %5s@%-2d %5s@%-2d", "HR", o->k[last], "MRR", o->k[last]);
    (void)fputc('\n', stderr);
    for (int g = 0; g < EVAL_GROUPS_MAX; g++) {
        const struct eval_group *group = &r->by[by][g];
        if (group->targets == 0) continue;
        (void)fprintf(stderr, "%-14s %8llu", eval_group_name((enum eval_by)by, g),
                      (unsigned long long)group->targets);
        for (int arm = 0; arm < EVAL_ARMS; arm++)
            if (r->asked[arm])
                (void)fprintf(stderr, "  %8.4f %8.4f", group->arms[arm].hr[last],
                              group->arms[arm].mrr[last]);
        (void)fputc('\n', stderr);
    }
}

void eval_report_table(const struct eval_report *report)
{
    const struct eval_options *o = report->options;
    const struct eval_result *r = report->result;
    (void)fprintf(stderr,
                  "%llu targets; %llu of items that the %s does not know, %llu of users "
                  "without a known item; %llu first events not predicted\n\n",
                  (unsigned long long)r->targets, (unsigned long long)r->unseen,
                  report->model ? "model" : "training part", (unsigned long long)r->cold,
                  (unsigned long long)r->first);
    (void)fprintf(stderr, "%-18s %5s", "", "k");
    for (int c = 0; c < COLUMNS; c++)
        if (columns[c].title) (void)fprintf(stderr, " %*s", columns[c].width, columns[c].title);
    (void)fputc('\n', stderr);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        if (!r->asked[arm]) continue;
        for (int i = 0; i < o->n_k; i++) {
            (void)fprintf(stderr, "%-18s %5d", i ? "" : eval_arm_names[arm], o->k[i]);
            for (int c = 0; c < COLUMNS; c++)
                if (columns[c].title)
                    (void)fprintf(stderr, " %*.*f", columns[c].width, columns[c].digits,
                                  column_of(&r->arms[arm], &columns[c])[i]);
            (void)fputc('\n', stderr);
        }
    }
    if (o->resamples > 0) print_intervals(o, r);
    for (int by = 0; by < EVAL_BYS; by++)
        if (report->by >> by & 1u) print_groups(o, r, by);
}

/* ---- JSON ---- */

static void push_accuracy(struct buf *out, const struct eval_options *o, const char *name,
                          const struct eval_accuracy *a)
{
    buf_push_format(out, ",\"%s\":{", name);
    for (int i = 0; i < o->n_k; i++)
        buf_push_format(out, "%s\"hr@%d\":%.6f,\"ndcg@%d\":%.6f,\"mrr@%d\":%.6f", i ? "," : "",
                        o->k[i], a->hr[i], o->k[i], a->ndcg[i], o->k[i], a->mrr[i]);
    buf_push_text(out, "}");
}

static void push_interval(struct buf *out, const struct eval_options *o, const char *name,
                          const struct eval_interval *interval)
{
    const struct eval_accuracy *l = &interval->low, *h = &interval->high;
    buf_push_format(out, ",\"%s\":{", name);
    for (int i = 0; i < o->n_k; i++)
        buf_push_format(out,
                        "%s\"hr@%d\":[%.6f,%.6f],\"ndcg@%d\":[%.6f,%.6f],\"mrr@%d\":[%.6f,%.6f]",
                        i ? "," : "", o->k[i], l->hr[i], h->hr[i], o->k[i], l->ndcg[i], h->ndcg[i],
                        o->k[i], l->mrr[i], h->mrr[i]);
    buf_push_text(out, "}");
}

static void push_groups(struct buf *out, const struct eval_options *o, const struct eval_result *r,
                        int by)
{
    const char *comma = "";
    buf_push_format(out, ",\"by_%s\":{", eval_by_names[by]);
    for (int g = 0; g < EVAL_GROUPS_MAX; g++) {
        const struct eval_group *group = &r->by[by][g];
        if (group->targets == 0) continue;
        buf_push_format(out, "%s\"%s\":{\"targets\":%llu", comma,
                        eval_group_name((enum eval_by)by, g), (unsigned long long)group->targets);
        for (int arm = 0; arm < EVAL_ARMS; arm++)
            if (r->asked[arm]) push_accuracy(out, o, eval_arm_names[arm], &group->arms[arm]);
        buf_push_text(out, "}");
        comma = ",";
    }
    buf_push_text(out, "}");
}

static void push_arm(struct buf *out, const struct eval_options *o, const struct eval_result *r,
                     int arm)
{
    const struct eval_metrics *metrics = &r->arms[arm];
    buf_push_format(out, ",\"%s\":{", eval_arm_names[arm]);
    for (int c = 0; c < COLUMNS; c++) {
        for (int i = 0; i < o->n_k; i++)
            buf_push_format(out, "\"%s@%d\":%.6f,", columns[c].key, o->k[i],
                            column_of(metrics, &columns[c])[i]);
    }
    out->len--; /* the last comma */
    if (o->resamples > 0) push_interval(out, o, "interval", &r->interval[arm]);
    if (o->resamples > 0 && o->against >= 0 && arm != o->against)
        push_interval(out, o, "difference", &r->difference[arm]);
    buf_push_text(out, "}");
}

void eval_report_json(const struct eval_report *report)
{
    static const char *const masks[] = {"none", "current", "window", "history"};
    const struct eval_options *o = report->options;
    const struct eval_result *r = report->result;
    struct buf out;
    buf_init(&out, JSON_MAX);
    buf_push_format(&out, "{\"protocol\":\"%s\",\"preset\":\"%s\",\"mask\":\"%s\",",
                    o->split.protocol == TRAIN_LEAVE_ONE_OUT ? "leave-one-out"
                    : o->is_frozen                           ? "time-split"
                                                             : "next-item",
                    report->preset, masks[o->mask]);
    if (report->model)
        buf_push_format(&out, "\"model_id\":\"%016llx\",",
                        (unsigned long long)model_info(report->model).id);
    if (o->split.protocol == TRAIN_NEXT_ITEM)
        buf_push_format(&out, "\"split_time\":%g,", o->split.share);
    buf_push_format(&out, "\"items\":%d,\"window\":%d,", r->items, o->window);
    buf_push_format(&out, "\"targets\":%llu,\"unseen\":%llu,\"cold\":%llu,\"first\":%llu",
                    (unsigned long long)r->targets, (unsigned long long)r->unseen,
                    (unsigned long long)r->cold, (unsigned long long)r->first);
    if (o->resamples > 0)
        buf_push_format(&out, ",\"resamples\":%d,\"seed\":%llu", o->resamples,
                        (unsigned long long)o->seed);
    if (o->resamples > 0 && o->against >= 0)
        buf_push_format(&out, ",\"against\":\"%s\"", eval_arm_names[o->against]);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        if (r->asked[arm]) push_arm(&out, o, r, arm);
    }
    for (int by = 0; by < EVAL_BYS; by++)
        if (report->by >> by & 1u) push_groups(&out, o, r, by);
    printf("%.*s}\n", (int)out.len, (const char *)out.data);
    buf_fini(&out);
}
