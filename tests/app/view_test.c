/* The demo's terminal view: whose lists it shows, and that it goes on to the next people. */
#include "tests/test.h"

#include <unistd.h>

#include "app/view.h"
#include "base/mem.h"

enum { ROOM = 1 << 16, START_MS = 1000000 };

struct rig {
    struct view *view;
    struct tap *tap;
    struct counters *counters;
    FILE *out;
    char text[ROOM];
};

static struct str title(void *context, struct str item_id)
{
    (void)context;
    return item_id;
}

static void rig_open(struct rig *rig, bool is_screen)
{
    rig->tap = tap_new(64);
    rig->counters = metrics_new(1);
    rig->out = tmpfile();
    CHECK(rig->out != NULL);
    struct view_options options = {.out = rig->out,
                                   .is_screen = is_screen,
                                   .head = "a shop",
                                   .note = "(of orders)",
                                   .tap = rig->tap,
                                   .title = title};
    rig->view = view_new(&options);
}

static void rig_close(struct rig *rig)
{
    view_free(rig->view);
    tap_free(rig->tap);
    counters_free(rig->counters);
    CHECK_INT(fclose(rig->out), 0);
    mem_free(rig);
}

/* What a call printed. */
static const char *printed(struct rig *rig)
{
    CHECK_INT(fflush(rig->out), 0);
    rewind(rig->out);
    size_t len = fread(rig->text, 1, ROOM - 1, rig->out);
    rig->text[len] = '\0';
    rewind(rig->out);
    CHECK_INT(ftruncate(fileno(rig->out), 0), 0);
    return rig->text;
}

static void publish(struct rig *rig, const char *user, const char *first, int64_t at_ms)
{
    struct tap_list list = {
        .type = EVENT_VIEW, .published_ms = at_ms, .record_ms = at_ms - 3, .n = 2};
    (void)snprintf(list.user, sizeof list.user, "%s", user);
    (void)snprintf(list.item, sizeof list.item, "looked-at");
    (void)snprintf(list.list[0], sizeof list.list[0], "%s", first);
    (void)snprintf(list.list[1], sizeof list.list[1], "second");
    tap_put(rig->tap, &list);
}

static const char *frame(struct rig *rig, int64_t now_ms)
{
    (void)printed(rig);
    view_update(rig->view, rig->counters, now_ms);
    return printed(rig);
}

static bool shows(const char *text, const char *user)
{
    char start[32];
    (void)snprintf(start, sizeof start, "  \x1b[1m%s\x1b[0m ", user);
    return strstr(text, start) != NULL;
}

/* Three are shown; a fourth only when one of them did nothing for some seconds, as people of a demo's first sessions soon do. */
static void the_silent_give_way(void)
{
    struct rig *rig = mem_zalloc(sizeof *rig);
    rig_open(rig, true);
    publish(rig, "u1", "one", START_MS);
    publish(rig, "u2", "two", START_MS);
    publish(rig, "u3", "three", START_MS);
    publish(rig, "u4", "four", START_MS);
    const char *text = frame(rig, START_MS);
    CHECK(shows(text, "u1") && shows(text, "u2") && shows(text, "u3") && !shows(text, "u4"));
    publish(rig, "u2", "two again", START_MS + 3000);
    CHECK_CONTAINS(frame(rig, START_MS + 3000), "list 2, 3 ms after the event");
    publish(rig, "u4", "four", START_MS + 5000);
    text = frame(rig, START_MS + 5000);
    CHECK(!shows(text, "u1") && shows(text, "u2") && shows(text, "u3") && shows(text, "u4"));
    rig_close(rig);
}

/* What came into a list since the one before is marked. */
static void new_items_are_marked(void)
{
    struct rig *rig = mem_zalloc(sizeof *rig);
    rig_open(rig, true);
    publish(rig, "u1", "one", START_MS);
    CHECK(strstr(frame(rig, START_MS), "+ 1") == NULL);
    publish(rig, "u1", "other", START_MS + 100);
    const char *text = frame(rig, START_MS + 100);
    CHECK_CONTAINS(text, "+ 1  other");
    CHECK_CONTAINS(text, "  2  second");
    rig_close(rig);
}

/* The summary of a run without a terminal: figures by event type, the note once orders are among them. */
static void the_summary_has_figures(void)
{
    struct rig *rig = mem_zalloc(sizeof *rig);
    rig_open(rig, false);
    struct counters_slot *slot = counters_slot(rig->counters, 0);
    counters_add(slot, METRIC_RECORDS, 0, 50);
    counters_add(slot, METRIC_QUALITY_EVENTS, EVENT_VIEW, 10);
    counters_add(slot, METRIC_QUALITY_HITS, metrics_quality_label(EVENT_VIEW, QUALITY_LIST), 5);
    view_summary(rig->view, rig->counters, 10);
    const char *text = printed(rig);
    CHECK_CONTAINS(text, "ran 10 s");
    CHECK_CONTAINS(text, "50 events, 0 lists");
    CHECK_CONTAINS(text, "5 events/s");
    CHECK_CONTAINS(text, "view            0.500");
    CHECK(strstr(text, "(of orders)") == NULL);
    counters_add(slot, METRIC_QUALITY_EVENTS, EVENT_PURCHASE, 1);
    view_summary(rig->view, rig->counters, 10);
    CHECK_CONTAINS(printed(rig), "(of orders)");
    rig_close(rig);
}

int main(void)
{
    CASE(the_silent_give_way);
    CASE(new_items_are_marked);
    CASE(the_summary_has_figures);
    return 0;
}
