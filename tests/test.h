#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

/* What every test includes. A test is a main() that calls its cases and returns 0. A check that does not hold prints the
 * place, the text of both sides and both values, and ends the program with status 1 at once.
 *
 *   CHECK(cond)                   cond is true
 *   CHECK_INT(a, b)               signed or unsigned integers, enums, bools, up to 64 bits
 *   CHECK_HEX(a, b)               the same, printed as hex (keys, hashes, masks)
 *   CHECK_STR(a, b)               C strings, neither NULL
 *   CHECK_BYTES(a, na, b, nb)     runs of bytes
 *   CHECK_CONTAINS(text, part)    part stands in text
 *   CHECK_NEAR(a, b, tol)         |a - b| <= tol; NaN fails
 *   CHECK_OK(call, err)           call is true; err (struct err or a pointer to it) says why not
 *   CHECK_FAIL(call, err, class)  call is false and err has this class
 *   CASE(function)                prints the name, calls it
 *
 * A random test takes its seed from TEST_SEED(), which prints it: SEED=7 runs one again, SEED=random draws a new one. */

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) test_fail(__FILE__, __LINE__, "%s does not hold", #cond);                     \
    } while (0)

#define CHECK_INT(a, b)                                                                            \
    do {                                                                                           \
        int64_t test_a = (int64_t)(a), test_b = (int64_t)(b);                                      \
        if (test_a != test_b)                                                                      \
            test_fail(__FILE__, __LINE__, "%s is %" PRId64 ", %s is %" PRId64, #a, test_a, #b,     \
                      test_b);                                                                     \
    } while (0)

#define CHECK_HEX(a, b)                                                                            \
    do {                                                                                           \
        uint64_t test_a = (uint64_t)(a), test_b = (uint64_t)(b);                                   \
        if (test_a != test_b)                                                                      \
            test_fail(__FILE__, __LINE__, "%s is %" PRIx64 ", %s is %" PRIx64, #a, test_a, #b,     \
                      test_b);                                                                     \
    } while (0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *test_a = (a), *test_b = (b);                                                   \
        if (test_a == NULL || test_b == NULL || strcmp(test_a, test_b) != 0)                       \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", %s is \"%s\"", #a,                        \
                      test_a ? test_a : "(null)", #b, test_b ? test_b : "(null)");                 \
    } while (0)

#define CHECK_BYTES(a, na, b, nb)                                                                  \
    test_bytes(__FILE__, __LINE__, #a, (a), (size_t)(na), #b, (b), (size_t)(nb))

#define CHECK_CONTAINS(text, part)                                                                 \
    do {                                                                                           \
        const char *test_a = (text), *test_b = (part);                                             \
        if (test_a == NULL || strstr(test_a, test_b) == NULL)                                      \
            test_fail(__FILE__, __LINE__, "%s is \"%s\" and holds no \"%s\"", #text,               \
                      test_a ? test_a : "(null)", test_b);                                         \
    } while (0)

#define CHECK_NEAR(a, b, tol)                                                                      \
    do {                                                                                           \
        double test_a = (double)(a), test_b = (double)(b), test_tol = (double)(tol);               \
        if (!(fabs(test_a - test_b) <= test_tol))                                                  \
            test_fail(__FILE__, __LINE__, "%s is %.17g, %s is %.17g, apart %.3g > %.3g", #a,       \
                      test_a, #b, test_b, fabs(test_a - test_b), test_tol);                        \
    } while (0)

/* clang-format off */
#define TEST_ERR(e)                                                                                \
    _Generic((e), struct err: test_err_of_value, struct err *: test_err_of_pointer)(e)
/* clang-format on */

#define CHECK_OK(call, e)                                                                          \
    do {                                                                                           \
        if (!(call)) test_fail_err(__FILE__, __LINE__, #call, TEST_ERR(e));                        \
    } while (0)

#define CHECK_FAIL(call, e, want)                                                                  \
    do {                                                                                           \
        if (call) test_fail(__FILE__, __LINE__, "%s succeeded, %s was to come", #call, #want);     \
        struct err test_e = TEST_ERR(e);                                                           \
        if (test_e.class != (want))                                                                \
            test_fail(__FILE__, __LINE__, "%s: class is %s (%s), %s was to come", #call,           \
                      err_class_name(test_e.class), test_e.text, #want);                           \
    } while (0)

#define CASE(function)                                                                             \
    do {                                                                                           \
        printf("- %s\n", #function);                                                               \
        fflush(stdout);                                                                            \
        function();                                                                                \
    } while (0)

#define TEST_SEED() test_seed()

__attribute__((format(printf, 3, 4), noreturn, unused)) static void
test_fail(const char *file, int line, const char *format, ...)
{
    __builtin_va_list args;
    fflush(stdout);
    fprintf(stderr, "%s:%d: FAILED: ", file, line);
    __builtin_va_start(args, format);
    vfprintf(stderr, format, args);
    __builtin_va_end(args);
    fputc('\n', stderr);
    exit(1);
}

__attribute__((unused)) static struct err test_err_of_value(struct err err)
{
    return err;
}

__attribute__((unused)) static struct err test_err_of_pointer(const struct err *err)
{
    return *err;
}

__attribute__((noreturn, unused)) static void test_fail_err(const char *file, int line,
                                                            const char *call, struct err err)
{
    test_fail(file, line, "%s: %s error: %s (%s:%d)", call, err_class_name(err.class), err.text,
              err.file ? err.file : "?", err.line);
}

/* Prints up to 64 bytes of both sides as hex. */
__attribute__((unused)) static void test_bytes(const char *file, int line, const char *name_a,
                                               const void *a, size_t na, const char *name_b,
                                               const void *b, size_t nb)
{
    if (na == nb && (na == 0 || memcmp(a, b, na) == 0)) return;
    const unsigned char *side[2] = {a, b};
    size_t len[2] = {na, nb};
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        fprintf(stderr, "%s (%zu bytes):", i == 0 ? name_a : name_b, len[i]);
        for (size_t j = 0; j < len[i] && j < 64; j++)
            fprintf(stderr, " %02x", side[i][j]);
        fputc('\n', stderr);
    }
    test_fail(file, line, "%s and %s differ", name_a, name_b);
}

/* A fixed seed unless the environment names one, so that a run of all tests is the same twice. */
__attribute__((unused)) static uint64_t test_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = 20260101;
    if (text != NULL && strcmp(text, "random") == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000003u + (uint64_t)now.tv_nsec;
    } else if (text != NULL) {
        seed = strtoull(text, NULL, 10);
    }
    printf("SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}

#endif
