// A library to preload before libfaketime while the monotonic clock stays true. libfaketime 0.9.10
// (Debian 12) shifts times of that clock all the same: the end of an absolute sleep, whereupon
// Python's time.sleep fails with EINVAL, and the end of a wait for a condition, whereupon each wait
// for Python's global lock ends at once or, rarely, with an error that aborts the process. The
// functions of the C library are called instead. Built by the Makefile.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*nanosleep_by)(clockid_t, int, const struct timespec *, struct timespec *);
typedef int (*wait_until)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    if (clock == CLOCK_MONOTONIC)
        return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
    return ((nanosleep_by)dlsym(RTLD_NEXT, "clock_nanosleep"))(clock, flags, until, left);
}

static wait_until wait_until_of(const char *library)
{
    void *from = library ? dlopen(library, RTLD_LAZY | RTLD_NOLOAD) : RTLD_NEXT;
    return (wait_until)dlsym(from, "pthread_cond_timedwait");
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until)
{
    static wait_until true_wait, shifted_wait;  // every thread writes the same values

    if (!shifted_wait) {
        true_wait = wait_until_of("libc.so.6");
        shifted_wait = wait_until_of(NULL);
    }
    // glibc's condition has its clock in this bit (nptl/pthread_cond_common.c).
    return (condition->__data.__wrefs & 2 ? true_wait : shifted_wait)(condition, mutex, until);
}
