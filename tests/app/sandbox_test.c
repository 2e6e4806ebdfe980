/* What is left to a process in the sandbox, and what is not: each tried in a process of its own, as one cannot come out again. */
#define _GNU_SOURCE /* clone flags, unshare */
#include "app/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sync.h"
#include "tests/test.h"

/* Each returns 0 when the call did what it must not, else its errno. */

static int try_exec(void)
{
    char *const words[] = {(char *)(uintptr_t) "true", NULL};
    return execve("/bin/true", words, NULL) == 0 ? 0 : errno;
}

static int try_fork(void)
{
    pid_t child = fork();
    if (child == 0) _exit(0);
    return child > 0 ? 0 : errno;
}

static int try_vfork_clone(void)
{
    long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) _exit(0);
    return child > 0 ? 0 : errno;
}

static int try_clone3(void)
{
    char arguments[64] = {0}; /* struct clone_args, no flags */
    long child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0) _exit(0);
    return child > 0 ? 0 : errno;
}

static int try_system(void)
{
    return system("true") == 0 ? 0 : EPERM;
}

static int try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : errno;
}

static int try_mount(void)
{
    return mount("none", "/tmp", "tmpfs", 0, NULL) == 0 ? 0 : errno;
}

static int try_setuid(void)
{
    return setuid(65534) == 0 ? 0 : errno;
}

static int try_unshare(void)
{
    return (int)syscall(SYS_unshare, CLONE_NEWUSER) == 0 ? 0 : errno;
}

static int try_kill_parent(void)
{
    return kill(getppid(), 0) == 0 ? 0 : errno;
}

static int try_raise_limit(void)
{
    struct rlimit limit = {0, 0};
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : errno;
}

static int try_written_code(void)
{
    void *at =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED ? 0 : errno;
}

static int try_code_of_data(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(at, 4096, PROT_READ | PROT_EXEC) == 0 ? 0 : errno;
}

static int try_bpf(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0) == 0 ? 0 : errno;
}

static int try_keyring(void)
{
    return (int)syscall(SYS_add_key, "user", "a", "b", 1, -4) >= 0 ? 0 : errno;
}

static const struct {
    const char *name;
    int (*try)(void);
    int want; /* errno; 0: any */
} refused[] = {
    {"exec", try_exec, EPERM},
    {"fork", try_fork, 0},
    {"clone", try_vfork_clone, 0},
    {"clone3", try_clone3, ENOSYS},
    {"system()", try_system, 0},
    {"ptrace", try_ptrace, EPERM},
    {"mount", try_mount, ENOSYS},
    {"setuid", try_setuid, ENOSYS},
    {"unshare", try_unshare, ENOSYS},
    {"a signal to the parent", try_kill_parent, ENOSYS},
    {"a changed limit", try_raise_limit, ENOSYS},
    {"memory to write and run", try_written_code, ENOSYS},
    {"data made code", try_code_of_data, ENOSYS},
    {"bpf", try_bpf, ENOSYS},
    {"a key", try_keyring, ENOSYS},
};

/* Runs body in a process of its own, in the sandbox; it must end with 0. */
static void in_sandbox(const char *name, int (*body)(void))
{
    struct err err = ERR_INIT;
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!sandbox_enter(&err)) {
            fprintf(stderr, "%s\n", err.text);
            _exit(100);
        }
        _exit(body());
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        test_fail(__FILE__, __LINE__, "%s: status 0x%x", name, (unsigned)status);
}

static size_t now; /* the row being tried */

static int try_refused(void)
{
    int code = refused[now].try();
    if (code == 0 || (refused[now].want && code != refused[now].want)) {
        fprintf(stderr, "%s: errno %d (%s)\n", refused[now].name, code, strerror(code));
        return 1;
    }
    return 0;
}

static void what_is_refused(void)
{
    for (now = 0; now < sizeof refused / sizeof refused[0]; now++)
        in_sandbox(refused[now].name, try_refused);
}

/* Without the sandbox these come through, so that a refusal above is the sandbox's. */
static void the_attempts_are_real(void)
{
    CHECK_INT(try_fork(), 0);
    CHECK_INT(try_clone3(), 0);
    CHECK_INT(try_kill_parent(), 0);
    CHECK_INT(try_written_code(), 0);
    CHECK_INT(try_code_of_data(), 0);
    while (waitpid(-1, NULL, __WALL) > 0)
        ;
}

/* ---- what goes on working ---- */

static void thread_body(void *context)
{
    *(int *)context = 42;
}

static int use_threads(void)
{
    struct err err = ERR_INIT;
    struct thread thread;
    int value = 0;
    if (!thread_start(&thread, "inside", thread_body, &value, &err)) return 1;
    thread_join(&thread);
    return value == 42 ? 0 : 2;
}

static int use_files(void)
{
    char path[] = "/tmp/freshet-sandbox-XXXXXX", other[64];
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, "abc", 3) != 3 || fsync(fd) != 0) return 1;
    (void)snprintf(other, sizeof other, "%s.2", path);
    if (link(path, other) != 0 || rename(other, path) != 0 || unlink(path) != 0) return 2;
    (void)unlink(other);
    void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return 3;
    return close(fd);
}

static int use_names_and_sockets(void)
{
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo("localhost", "80", &hints, &found) != 0) return 1;
    freeaddrinfo(found);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    if (bind(server, (struct sockaddr *)&address, len) != 0 || listen(server, 1) != 0) return 2;
    if (getsockname(server, (struct sockaddr *)&address, &len) != 0) return 3;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&address, len) != 0) return 4;
    struct pollfd ready = {.fd = server, .events = POLLIN};
    return poll(&ready, 1, 1000) == 1 && accept(server, NULL, NULL) >= 0 ? 0 : 5;
}

static int use_signals(void)
{
    struct rlimit limit;
    if (kill(getpid(), 0) != 0 || raise(0) != 0) return 1;
    return getrlimit(RLIMIT_NOFILE, &limit);
}

static void what_goes_on(void)
{
    in_sandbox("threads", use_threads);
    in_sandbox("files", use_files);
    in_sandbox("names and sockets", use_names_and_sockets);
    in_sandbox("signals", use_signals);
}

/* ---- secrets ---- */

static int look_at_dumps(void)
{
    struct rlimit core;
    sandbox_keep_secrets();
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 1;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0) return 2;
    sandbox_dumpable();
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1) return 3;
    return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == core.rlim_max ? 0 : 4;
}

static void nothing_is_dumped(void)
{
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(look_at_dumps());
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

int main(void)
{
    CASE(nothing_is_dumped);
#ifdef FRESHET_SANITIZED
    (void)what_is_refused, (void)the_attempts_are_real, (void)what_goes_on;
    printf("  a sanitized build has no sandbox\n");
#else
    CASE(the_attempts_are_real);
    CASE(what_is_refused);
    CASE(what_goes_on);
#endif
    return 0;
}
