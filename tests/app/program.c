/* Runs the program that stands beside the test. */
#include "tests/app/program.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

char program_output[PROGRAM_OUTPUT_MAX];

static const char *program_path(void)
{
    static char path[512];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 16);
    CHECK(n > 0);
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    CHECK(slash != NULL);
    memcpy(slash, "/freshet", sizeof("/freshet"));
    CHECK_INT(access(path, X_OK), 0);
    return path;
}

int program_call(const char *folder, const char *environment, const char *arguments)
{
    char command[2048];
    (void)snprintf(command, sizeof(command), "cd %s && %s %s %s 2>&1", folder, environment,
                   program_path(), arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    size_t n = fread(program_output, 1, PROGRAM_OUTPUT_MAX - 1, pipe);
    program_output[n] = '\0';
    CHECK(n < PROGRAM_OUTPUT_MAX - 1); /* else its pipe would end before it does */
    int status = pclose(pipe);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}
