/* Moments in text: what is taken, what is refused, and that printing and reading agree on random ones. */
#include "app/when.h"

#include "base/rng.h"
#include "tests/test.h"

static const int64_t NOW_MS = 1763800000000;

static void taken(const char *text, int64_t want)
{
    struct err err = ERR_INIT;
    int64_t ms = -1;
    CHECK_OK(when_parse("--since", text, NOW_MS, &ms, &err), err);
    CHECK_INT(ms, want);
}

static void refused(const char *text)
{
    struct err err = ERR_INIT;
    int64_t ms = -1;
    CHECK(!when_parse("--since", text, NOW_MS, &ms, &err));
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, "--since");
}

/* The numbers are GNU date's. */
static void forms(void)
{
    taken("1970-01-01", 0);
    taken("2026-11-22", 1795305600000);
    taken("2026-11-22T08:30", 1795336200000);
    taken("2026-11-22 08:30:15", 1795336215000);
    taken("2026-11-22T08:30:15.250Z", 1795336215250);
    taken("2000-02-29", 951782400000);
    taken("2100-03-01Z", 4107542400000);
    taken("90s", NOW_MS - 90000);
    taken("15m", NOW_MS - 900000);
    taken("2h", NOW_MS - 7200000);
    taken("7d", NOW_MS - 604800000);
    taken("0", 0);
    taken("1763800000123", 1763800000123);
}

static void nonsense(void)
{
    static const char *const texts[] = {"",           "yesterday",
                                        "2026-13-01", "2026-02-29",
                                        "2100-02-29", "2026-11-22T25:00",
                                        "2026-11-2",  "2026-11-22T8:30",
                                        "-5m",        "5y",
                                        "5 m",        "99999999999999999999",
                                        "999999999d", "2026-11-22x",
                                        "1969-12-31", "2026-04-31"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        refused(texts[i]);
}

static void there_and_back(void)
{
    struct rng rng;
    char text[WHEN_TEXT_MAX];
    rng_init(&rng, TEST_SEED());
    for (int i = 0; i < 2000; i++) {
        int64_t ms = (int64_t)rng_below(&rng, 4000000000000);
        taken(when_print(ms, text), ms);
    }
}

int main(void)
{
    CASE(forms);
    CASE(nonsense);
    CASE(there_and_back);
    return 0;
}
