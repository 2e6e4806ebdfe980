/* The macros of tests/test.h: each lets pass what holds, and ends the program with status 1 on what does not. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

static bool fails(struct err *err)
{
    return err_set(err, ERR_DATA, "bad");
}

static bool works(struct err *err)
{
    (void)err;
    return true;
}

/* Everything here holds. */
static void run_good(void)
{
    struct err err = ERR_INIT;
    CHECK(1 < 2);
    CHECK_INT((uint8_t)200, 200);
    CHECK_INT(true, 1);
    CHECK_HEX(UINT64_MAX, -1);
    CHECK_STR("a", "a");
    CHECK_BYTES("ab", 2, "abc", 2);
    CHECK_CONTAINS("abc", "b");
    CHECK_NEAR(1.0f, 1.05, 0.1);
    CHECK_OK(works(&err), err);
    CHECK_OK(works(&err), &err);
    CHECK_FAIL(fails(&err), err, ERR_DATA);
    CHECK_FAIL(fails(&err), &err, ERR_DATA);
}

/* The check of that number does not hold; false when there is no such number. */
static bool run_bad(int number)
{
    struct err err = ERR_INIT;
    const char *none = NULL;
    switch (number) {
    case 0:
        CHECK(1 > 2);
        break;
    case 1:
        CHECK_INT(1, 2);
        break;
    case 2:
        CHECK_HEX(1, 2);
        break;
    case 3:
        CHECK_STR("a", "b");
        break;
    case 4:
        CHECK_STR(none, "b");
        break;
    case 5:
        CHECK_BYTES("ab", 2, "ac", 2);
        break;
    case 6:
        CHECK_BYTES("ab", 2, "ab", 1);
        break;
    case 7:
        CHECK_CONTAINS("abc", "d");
        break;
    case 8:
        CHECK_CONTAINS(none, "d");
        break;
    case 9:
        CHECK_NEAR(1, 1.2, 0.1);
        break;
    case 10:
        CHECK_NEAR(NAN, 1, 0.1);
        break;
    case 11:
        CHECK_OK(fails(&err), err);
        break;
    case 12:
        CHECK_OK(fails(&err), &err);
        break;
    case 13:
        CHECK_FAIL(works(&err), err, ERR_DATA);
        break;
    case 14:
        CHECK_FAIL(fails(&err), err, ERR_FATAL);
        break;
    default:
        return false;
    }
    return true;
}

/* The child's words go nowhere; its exit status counts: 1 from the check, 9 when it went on, 8 past the last number. */
static int status_of(int number)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(7);
        _exit(run_bad(number) ? 9 : 8);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 6;
    return WEXITSTATUS(status);
}

int main(void)
{
    /* Not by the macros: they are what is tested. */
    run_good();
    int number = 0, status;
    while ((status = status_of(number)) == 1)
        number++;
    if (status != 8 || number != 15) {
        fprintf(stderr, "check %d ended with status %d\n", number, status);
        return 1;
    }
    (void)TEST_SEED();
    printf("%d failing checks failed\n", number);
    return 0;
}
