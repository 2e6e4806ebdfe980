#ifndef TESTS_APP_PROGRAM_H
#define TESTS_APP_PROGRAM_H

/* Runs the program that stands beside the test, as a person or a script does. */

enum { PROGRAM_OUTPUT_MAX = 1 << 24 };

/* stdout and stderr of the last call, NUL ended. */
extern char program_output[PROGRAM_OUTPUT_MAX];

/* Runs `environment freshet arguments` by the shell in the folder. Returns the exit code. */
int program_call(const char *folder, const char *environment, const char *arguments);

#endif
