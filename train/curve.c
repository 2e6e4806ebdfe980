/* How training went, for people and scripts: training.jsonl and learning_curve.svg. Both are written anew after each epoch, which
 * also makes them right behind a resume. */
#include <math.h>
#include <string.h>

#include "train/outfile.h"
#include "train/train.h"

/* ---- training.jsonl ---- */

static bool write_lines(const char *path, const struct train_curve *curve, struct err *err)
{
    struct train__outfile file;
    if (!train__outfile_open(&file, path, err)) return false;
    for (int i = 0; i < curve->n; i++) {
        const struct train_epoch *e = &curve->history[i];
        double per_s = e->seconds > 0 ? (double)e->positions / e->seconds : 0;
        (void)fprintf(file.stream,
                      "{\"epoch\":%d,\"loss\":%.6g,\"rate\":%.6g,\"hr@10\":%.6f,\"ndcg@10\":%.6f,"
                      "\"mrr@20\":%.6f,\"positions\":%llu,\"positions_per_s\":%.1f,"
                      "\"seconds\":%.3f,\"best\":%s}\n",
                      i + 1, e->loss, e->rate, e->hr10, e->ndcg10, e->mrr20,
                      (unsigned long long)e->positions, per_s, e->seconds,
                      i + 1 == curve->best_epoch ? "true" : "false");
    }
    return train__outfile_finish(&file, err);
}

/* ---- learning_curve.svg ---- */

/* The picture and the plot in it, in pixels. */
enum { WIDTH = 860, HEIGHT = 470, LEFT = 80, RIGHT = 780, TOP = 60, BOTTOM = 400 };

static const char LOSS_COLOUR[] = "#1d5fa6", METRIC_COLOUR[] = "#c2500a";

/* From values to pixels. */
struct axis {
    double low, high, step; /* low and high are multiples of step, but for the epochs' */
    double at_low, at_high; /* pixels */
};

static double place(const struct axis *axis, double value)
{
    double along = (value - axis->low) / (axis->high - axis->low);
    return axis->at_low + along * (axis->at_high - axis->at_low);
}

/* 1, 2 or 5 times a power of ten: about five steps over the span. */
static double step_of(double span)
{
    double power = pow(10, floor(log10(span / 5)));
    double rest = span / 5 / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

/* An upright axis that holds low..high with its ends on ticks. */
static struct axis axis_over(double low, double high)
{
    double least = 1e-6 + 1e-3 * fabs(high); /* all values may be the same */
    if (high - low < least) {
        low -= least;
        high += least;
    }
    struct axis axis = {.step = step_of(high - low), .at_low = BOTTOM, .at_high = TOP};
    axis.low = floor(low / axis.step + 1e-9) * axis.step;
    axis.high = ceil(high / axis.step - 1e-9) * axis.step;
    return axis;
}

static struct axis epochs_axis(int n)
{
    int last = n > 1 ? n : 2;
    double step = step_of(last);
    return (struct axis){1, last, step < 1 ? 1 : step, LEFT, RIGHT};
}

static double loss_of(const struct train_curve *curve, int i)
{
    return curve->history[i].loss;
}

static double metric_of(const struct train_curve *curve, int i)
{
    const struct train_epoch *e = &curve->history[i];
    return curve->watch == WATCH_HR10    ? e->hr10
           : curve->watch == WATCH_MRR20 ? e->mrr20
                                         : e->ndcg10;
}

static const char *metric_name(enum train_watch watch)
{
    return watch == WATCH_HR10 ? "HR@10" : watch == WATCH_MRR20 ? "MRR@20" : "NDCG@10";
}

/* Smallest and largest of what value gives for the epochs. */
static struct axis axis_of(const struct train_curve *curve,
                           double (*value)(const struct train_curve *, int))
{
    double low = value(curve, 0), high = low;
    for (int i = 1; i < curve->n; i++) {
        low = fmin(low, value(curve, i));
        high = fmax(high, value(curve, i));
    }
    return axis_over(low, high);
}

static void draw_upright(FILE *out, const struct axis *axis, bool is_left, const char *title,
                         const char *colour)
{
    int x = is_left ? LEFT : RIGHT, beside = is_left ? x - 8 : x + 8;
    for (int t = 0; axis->low + t * axis->step < axis->high + axis->step / 2; t++) {
        double value = axis->low + t * axis->step, y = place(axis, value);
        if (fabs(value) < axis->step / 1e6) value = 0; /* no -0 or 1e-17 */
        if (is_left)
            (void)fprintf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#e2e2e2\"/>\n", LEFT, y, RIGHT);
        (void)fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%.6g</text>\n",
                      beside, y + 4, is_left ? "end" : "start", colour, value);
    }
    int middle = (TOP + BOTTOM) / 2, aside = is_left ? 22 : WIDTH - 16;
    (void)fprintf(out,
                  "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"%s\" "
                  "transform=\"rotate(-90 %d %d)\">%s</text>\n",
                  aside, middle, colour, aside, middle, title);
}

static void draw_epochs(FILE *out, const struct axis *axis, int n)
{
    double first = axis->step > 1 ? 0 : 1;
    for (int i = 0; first + i * axis->step <= axis->high; i++) {
        double epoch = first + i * axis->step, value = epoch < 1 ? 1 : epoch,
               x = place(axis, value);
        (void)fprintf(out,
                      "<path d=\"M%.1f %dv5\" stroke=\"#444\"/>"
                      "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
                      x, BOTTOM, x, BOTTOM + 20, value);
    }
    (void)fprintf(out,
                  "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epoch (%d done)</text>\n"
                  "<path d=\"M%d %dV%dH%dV%d\" fill=\"none\" stroke=\"#444\"/>\n",
                  (LEFT + RIGHT) / 2, BOTTOM + 45, n, LEFT, TOP, BOTTOM, RIGHT, TOP);
}

static void draw_line(FILE *out, const struct train_curve *curve, const struct axis *epochs,
                      const struct axis *axis, double (*value)(const struct train_curve *, int),
                      const char *colour)
{
    (void)fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"",
                  colour);
    for (int i = 0; i < curve->n; i++)
        (void)fprintf(out, "%s%.1f,%.1f", i ? " " : "", place(epochs, i + 1),
                      place(axis, value(curve, i)));
    (void)fprintf(out, "\"/>\n");
    for (int i = 0; i < curve->n && curve->n <= 60; i++)
        (void)fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n",
                      place(epochs, i + 1), place(axis, value(curve, i)), colour);
}

/* The best epoch: an upright line, and its numbers in the headline. */
static void draw_best(FILE *out, const struct train_curve *curve, const struct axis *epochs,
                      bool has_metric)
{
    int best = curve->best_epoch;
    if (best < 1 || best > curve->n) return;
    double x = place(epochs, best);
    (void)fprintf(out,
                  "<path d=\"M%.1f %dV%d\" stroke=\"#555\" stroke-dasharray=\"5 4\"/>\n"
                  "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">best: epoch %d</text>\n"
                  "<text x=\"%d\" y=\"24\" font-size=\"16\">Best epoch %d: loss %.4f",
                  x, TOP, BOTTOM, fmin(fmax(x, LEFT + 50), RIGHT - 50), TOP - 8, best, LEFT, best,
                  loss_of(curve, best - 1));
    if (has_metric)
        (void)fprintf(out, ", validation %s %.4f", metric_name(curve->watch),
                      metric_of(curve, best - 1));
    (void)fprintf(out, "</text>\n");
}

static void draw(FILE *out, const struct train_curve *curve)
{
    struct axis epochs = epochs_axis(curve->n), loss = axis_of(curve, loss_of);
    struct axis metric = axis_of(curve, metric_of);
    char title[64];
    bool has_metric = false;
    for (int i = 0; i < curve->n; i++)
        has_metric = has_metric || metric_of(curve, i) > 0;
    (void)fprintf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"
                  "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                  WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_upright(out, &loss, true, "training loss, nats", LOSS_COLOUR);
    draw_epochs(out, &epochs, curve->n);
    draw_best(out, curve, &epochs, has_metric);
    draw_line(out, curve, &epochs, &loss, loss_of, LOSS_COLOUR);
    if (has_metric) {
        (void)snprintf(title, sizeof title, "validation %s", metric_name(curve->watch));
        draw_upright(out, &metric, false, title, METRIC_COLOUR);
        draw_line(out, curve, &epochs, &metric, metric_of, METRIC_COLOUR);
    }
    (void)fprintf(out, "</svg>\n");
}

bool train_curve_write(const char *folder, const struct train_curve *curve, struct err *err)
{
    char path[4096];
    struct train__outfile file;
    int n = snprintf(path, sizeof path, "%s/learning_curve.svg", folder);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_fatal(err, ERR_EXIT_USAGE, "%s: the path is too long", folder);
    if (curve->n < 1) return true;
    if (!train__outfile_open(&file, path, err)) return false;
    draw(file.stream, curve);
    if (!train__outfile_finish(&file, err)) return false;
    (void)snprintf(path, sizeof path, "%s/training.jsonl", folder);
    return write_lines(path, curve, err);
}
