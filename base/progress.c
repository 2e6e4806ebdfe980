/* The progress line: what is said, how often, and how it is drawn.
 *
 * Each update is remembered and the clock looked at; a line is drawn only when the last one is old enough (100 ms on a
 * terminal, 10 s elsewhere), so updates may come as often as is handy. The rate is a moving mean over half seconds (0.7 old,
 * 0.3 new): the time left must not jump with every batch, and must follow when the work slows down. */
#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    BAR_CELLS = 20,
    LINE_MAX_BYTES = 256,
    TEXT_MAX = 96,
    REDRAW_US = 100 * 1000,
    PLAIN_US = 10 * 1000 * 1000,
    RATE_US = 500 * 1000, /* the rate is measured over at least this */
};

struct progress {
    struct progress_options options;
    struct clock system; /* used when the options name no clock */
    bool terminal;
    bool drawn; /* the terminal's line shows something of ours */
    uint64_t done;
    uint64_t started_us;
    uint64_t printed_us;
    uint64_t rate_us;   /* when the rate was measured last, */
    uint64_t rate_done; /* what was done then, */
    double rate;        /* units/s, smoothed; 0 until it is known */
    char what[32];
    char unit[16];
    char text[TEXT_MAX];
};

char *progress_count(double n, char out[8])
{
    static const char suffixes[] = {'\0', 'k', 'M', 'G', 'T'};
    size_t i = 0;
    while (n >= 999.5 && i + 1 < sizeof(suffixes)) {
        n /= 1000;
        i++;
    }
    if (n > 99999) n = 99999;
    int decimals = i > 0 && n < 99.95 ? 1 : 0;
    (void)snprintf(out, 8, "%.*f%.1s", decimals, n, &suffixes[i]);
    return out;
}

char *progress_time(double seconds, char out[32])
{
    if (!(seconds >= 0)) seconds = 0;
    if (seconds > 999.0 * 86400) seconds = 999.0 * 86400;
    unsigned s = (unsigned)(seconds + 0.5);
    if (s < 3600) {
        (void)snprintf(out, 32, "%02u:%02u", s / 60, s % 60);
    } else if (s < 86400) {
        (void)snprintf(out, 32, "%02u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    } else {
        (void)snprintf(out, 32, "%ud %02uh", s / 86400, s / 3600 % 24);
    }
    return out;
}

struct progress *progress_new(const struct progress_options *options)
{
    struct progress *progress = mem_zalloc(sizeof(*progress));
    progress->options = *options;
    if (options->clock == NULL) progress->options.clock = &progress->system;
    (void)snprintf(progress->what, sizeof(progress->what), "%s", options->what);
    (void)snprintf(progress->unit, sizeof(progress->unit), "%s", options->unit);
    progress->terminal = isatty(options->fd) == 1;
    progress->started_us = clock_mono_us(progress->options.clock);
    progress->printed_us = progress->started_us;
    progress->rate_us = progress->started_us;
    return progress;
}

/* ---- drawing ---- */

/* The terminal's width less one: a full last column makes some terminals wrap. */
static int columns(const struct progress *progress)
{
    struct winsize size;
    if (!progress->terminal || ioctl(progress->options.fd, TIOCGWINSZ, &size) != 0) return 100;
    return size.ws_col > 20 ? size.ws_col - 1 : 100;
}

/* Appends to line, which holds used bytes; returns the new number. */
static int append(char *line, int used, const char *text)
{
    int n = snprintf(line + used, (size_t)(LINE_MAX_BYTES - used), "%s", text);
    return used + n < LINE_MAX_BYTES ? used + n : LINE_MAX_BYTES - 1;
}

/* "  42% [####----]"; nothing when the total is not known. */
static int append_share(const struct progress *progress, char *line, int used)
{
    if (progress->options.total == 0) return used;
    double share = (double)progress->done / (double)progress->options.total;
    if (share > 1) share = 1;
    char text[BAR_CELLS + 16];
    char bar[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < (int)(share * BAR_CELLS) ? '#' : '-';
    bar[BAR_CELLS] = '\0';
    /* Not 100% before it is done. */
    (void)snprintf(text, sizeof(text), "  %3d%% [%s]", (int)(share * 100), bar);
    return append(line, used, text);
}

/* at_end: the time taken stands where the time left was. */
static int make_line(const struct progress *progress, uint64_t now_us, bool at_end,
                     char line[LINE_MAX_BYTES])
{
    char a[8], b[8], t[32], part[96];
    double spent = (double)(now_us - progress->started_us) / 1e6;
    double rate = at_end && spent > 0 ? (double)progress->done / spent : progress->rate;
    uint64_t total = progress->options.total;

    int used = append(line, 0, progress->what);
    used = append_share(progress, line, used);
    progress_count((double)progress->done, a);
    progress_count((double)total, b);
    (void)snprintf(part, sizeof(part), "  %s%s%s %s", a, total ? "/" : "", total ? b : "",
                   progress->unit);
    used = append(line, used, part);
    if (rate > 0) {
        (void)snprintf(part, sizeof(part), "  %s/s", progress_count(rate, a));
        used = append(line, used, part);
    }
    if (at_end) {
        (void)snprintf(part, sizeof(part), "  in %s", progress_time(spent, t));
        used = append(line, used, part);
    } else if (rate > 0 && total > progress->done) {
        double left = (double)(total - progress->done) / rate;
        (void)snprintf(part, sizeof(part), "  %s left", progress_time(left, t));
        used = append(line, used, part);
    }
    if (progress->text[0] != '\0') {
        (void)snprintf(part, sizeof(part), "  %.90s", progress->text);
        used = append(line, used, part);
    }
    return used;
}

/* One write, so that a line does not mix with log lines. */
static void put(const struct progress *progress, const char *bytes, size_t n)
{
    /* A line that cannot be shown is no reason to stop the work. */
    ssize_t written = write(progress->options.fd, bytes, n);
    (void)written;
}

/* A carriage return goes back over the old line, and "erase to the end" takes off what of it is longer. */
static void draw(struct progress *progress, uint64_t now_us, bool at_end)
{
    char line[LINE_MAX_BYTES], out[LINE_MAX_BYTES + 8];
    int n = make_line(progress, now_us, at_end, line);
    int width = columns(progress);
    if (progress->terminal && n > width) n = width;
    const char *before = progress->terminal ? "\r" : "";
    const char *after = !progress->terminal ? "\n" : at_end ? "\x1b[K\n" : "\x1b[K";
    int all = snprintf(out, sizeof(out), "%s%.*s%s", before, n, line, after);
    put(progress, out, (size_t)all);
    progress->drawn = !at_end;
    progress->printed_us = now_us;
}

/* ---- telling ---- */

/* Updates the moving mean when half a second went by since the last time. */
static void measure_rate(struct progress *progress, uint64_t now_us)
{
    uint64_t span = now_us - progress->rate_us;
    if (span < RATE_US) return;
    double rate = (double)(progress->done - progress->rate_done) * 1e6 / (double)span;
    progress->rate = progress->rate == 0 ? rate : 0.7 * progress->rate + 0.3 * rate;
    progress->rate_us = now_us;
    progress->rate_done = progress->done;
}

void progress_update(struct progress *progress, uint64_t done, const char *text)
{
    if (done > progress->done) progress->done = done;
    if (text != NULL) (void)snprintf(progress->text, sizeof(progress->text), "%s", text);
    if (progress->options.quiet) return;
    uint64_t now_us = clock_mono_us(progress->options.clock);
    measure_rate(progress, now_us);
    uint64_t pause = progress->terminal ? REDRAW_US : PLAIN_US;
    if (now_us - progress->printed_us < pause) return;
    draw(progress, now_us, false);
}

void progress_total(struct progress *progress, uint64_t total)
{
    progress->options.total = total;
}

void progress_hide(struct progress *progress)
{
    if (progress->drawn && progress->terminal) put(progress, "\r\x1b[K", 4);
    progress->drawn = false;
}

void progress_end(struct progress *progress)
{
    if (progress == NULL) return;
    if (!progress->options.quiet) draw(progress, clock_mono_us(progress->options.clock), true);
    mem_free(progress);
}
