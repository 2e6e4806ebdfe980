/* The system calls that are left, by what they are for. */
#define _GNU_SOURCE /* clone flags, unshare; NOLINT(bugprone-reserved-identifier): the name is libc's */
#include "app/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* ---- secrets ---- */

void sandbox_keep_secrets(void)
{
    /* The soft limit alone, so that sandbox_dumpable can raise it again. */
    struct rlimit core;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (getrlimit(RLIMIT_CORE, &core) != 0) return;
    core.rlim_cur = 0;
    (void)setrlimit(RLIMIT_CORE, &core);
}

void sandbox_dumpable(void)
{
    struct rlimit core;
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_CORE, &core) != 0) return;
    core.rlim_cur = core.rlim_max;
    (void)setrlimit(RLIMIT_CORE, &core);
}

/* ---- system calls ---- */

/* Names that an architecture does not have are passed over. Found by strace over the tests and by reading what glibc 2.36,
 * librdkafka, RocksDB, libuv, libcurl and OpenSSL call; room is left for what newer glibc call instead (faccessat2, statx). */
static const char *const allowed[] = {
    /* bytes */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "sendfile",
    "copy_file_range",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "fcntl",
    "ioctl",
    /* files */
    "open",
    "openat",
    "openat2",
    "creat",
    "access",
    "faccessat",
    "faccessat2",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "getdents",
    "getdents64",
    "getcwd",
    "readlink",
    "readlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "truncate",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "readahead",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "syncfs",
    "flock",
    "fchmod",
    "fchmodat",
    "chmod",
    "umask",
    "utimensat",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    /* memory */
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "mincore",
    "membarrier",
    "mlock",
    "mlock2",
    "munlock",
    /* threads of this process; clone is allowed below for threads alone */
    "exit",
    "exit_group",
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "set_tid_address",
    "rseq",
    "arch_prctl",
    "prctl",
    "gettid",
    "getpid",
    "getppid",
    "getpgrp",
    "getpgid",
    "getsid",
    "tgkill",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "getpriority",
    "setpriority",
    "ioprio_get",
    "ioprio_set",
    "getcpu",
    "get_mempolicy",
    "set_mempolicy",
    "mbind",
    /* what one is and has */
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getresuid",
    "getresgid",
    "getrlimit",
    "getrusage",
    "times",
    "sysinfo",
    "uname",
    "getrandom",
    /* time and signals */
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "rt_sigpending",
    "sigaltstack",
    "restart_syscall",
    "pause",
    "signalfd4",
    /* waiting and the network */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "eventfd",
    "eventfd2",
    "socket",
    "socketpair",
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "shutdown",
};

/* Refused in words that say so; a library does not try another way. */
static const char *const denied[] = {
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev"};

/* By an argument: call, which one, of it the bits of mask, which must be equal to value. Rules of one call are alternatives. */
static const struct {
    int call;
    unsigned argument;
    scmp_datum_t mask, value;
} narrowed[] = {
    /* A thread, not a process. clone3 keeps its flags where a filter cannot see them; glibc then takes clone. */
    {SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD},
    /* Memory is for writing or for code: libraries are loaded, nothing that was written is run. */
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
    {SCMP_SYS(mmap), 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    /* Limits are read, not set. */
    {SCMP_SYS(prlimit64), 2, ~(scmp_datum_t)0, 0},
};

/* The call that a name stands for; negative: not of this architecture, or newer than libseccomp. */
static int add_named(scmp_filter_ctx filter, uint32_t action, const char *name)
{
    int call = seccomp_syscall_resolve_name(name);
    return call < 0 ? 0 : seccomp_rule_add(filter, action, call, 0);
}

/* 0, or what libseccomp says: a negative errno. */
static int rules_add(scmp_filter_ctx filter)
{
    int code = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0] && code == 0; i++)
        code = add_named(filter, SCMP_ACT_ALLOW, allowed[i]);
    for (size_t i = 0; i < sizeof denied / sizeof denied[0] && code == 0; i++)
        code = add_named(filter, SCMP_ACT_ERRNO(EPERM), denied[i]);
    for (size_t i = 0; i < sizeof narrowed / sizeof narrowed[0] && code == 0; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, narrowed[i].call, 1,
                                SCMP_CMP(narrowed[i].argument, SCMP_CMP_MASKED_EQ, narrowed[i].mask,
                                         narrowed[i].value));
    /* Signals go to this process. */
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return code;
}

static int filter_load(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (filter == NULL) return -ENOMEM;
    /* OpenBLAS may have threads from before main. */
    int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (code == 0) code = rules_add(filter);
    if (code == 0) code = seccomp_load(filter);
    seccomp_release(filter);
    return code;
}

bool sandbox_enter(struct err *err)
{
#ifdef FRESHET_SANITIZED
    (void)err, (void)filter_load;
    return true;
#else
    int code = filter_load();
    if (code != 0)
        return err_fatal(
            err, ERR_EXIT_USAGE,
            "the kernel takes no filter of system calls (%s): set process.sandbox=false to "
            "go without",
            strerror(-code));
    log_debug("app", "the sandbox is closed", "calls=%zu", sizeof allowed / sizeof allowed[0]);
    return true;
#endif
}
