/* What an evaluation found, as a table for people and as one JSON object. */
#include "app/eval_report.h"

#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"

enum { JSON_MAX = 1 << 20 };

/* The metrics as they are printed: a column of the table, keys of the JSON object. */
static const struct column {
    const char *title, *key;
    size_t offset; /* in struct eval_metrics */
    int width, digits;
} columns[] = {
    {"HR=recall", "hr", offsetof(struct eval_metrics, hr), 9, 4},
    {"NDCG", "ndcg", offsetof(struct eval_metrics, ndcg), 7, 4},
    {"MRR", "mrr", offsetof(struct eval_metrics, mrr), 7, 4},
    {"prec.", "precision", offsetof(struct eval_metrics, precision), 7, 4},
    {"F1", "f1", offsetof(struct eval_metrics, f1), 7, 4},
    {"coverage", "coverage", offsetof(struct eval_metrics, coverage), 8, 4},
    {"Gini", "gini", offsetof(struct eval_metrics, gini), 7, 4},
    {"novelty", "novelty", offsetof(struct eval_metrics, novelty), 7, 2},
    {"avg.pop.", "popularity", offsetof(struct eval_metrics, popularity), 8, 1},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static const double *column_of(const struct eval_metrics *metrics, const struct column *column)
{
    return (const double *)(const void *)((const char *)metrics + column->offset);
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
        (void)fprintf(stderr, " %*s", columns[c].width, columns[c].title);
    (void)fputc('\n', stderr);
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        if (!r->asked[arm]) continue;
        for (int i = 0; i < o->n_k; i++) {
            (void)fprintf(stderr, "%-18s %5d", i ? "" : eval_arm_names[arm], o->k[i]);
            for (int c = 0; c < COLUMNS; c++)
                (void)fprintf(stderr, " %*.*f", columns[c].width, columns[c].digits,
                              column_of(&r->arms[arm], &columns[c])[i]);
            (void)fputc('\n', stderr);
        }
    }
}

static void push_arm(struct buf *out, const struct eval_options *o, const char *name,
                     const struct eval_metrics *metrics)
{
    buf_push_format(out, ",\"%s\":{", name);
    for (int c = 0; c < COLUMNS; c++) {
        for (int i = 0; i < o->n_k; i++)
            buf_push_format(out, "\"%s@%d\":%.6f,", columns[c].key, o->k[i],
                            column_of(metrics, &columns[c])[i]);
    }
    out->len--; /* the last comma */
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
                    o->split.protocol == TRAIN_LEAVE_ONE_OUT ? "leave-one-out" : "next-item",
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
    for (int arm = 0; arm < EVAL_ARMS; arm++) {
        if (r->asked[arm]) push_arm(&out, o, eval_arm_names[arm], &r->arms[arm]);
    }
    printf("%.*s}\n", (int)out.len, (const char *)out.data);
    buf_fini(&out);
}
