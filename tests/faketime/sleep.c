// A library to preload before libfaketime while the monotonic clock stays true. libfaketime 0.9.10
// (Debian 12) shifts the end of an absolute sleep although that clock is not shifted, and Python's
// time.sleep fails with EINVAL. Later versions do not, nor does this library. Built by the Makefile.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*nanosleep_by)(clockid_t, int, const struct timespec *, struct timespec *);

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    if (clock == CLOCK_MONOTONIC)
        return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
    return ((nanosleep_by)dlsym(RTLD_NEXT, "clock_nanosleep"))(clock, flags, until, left);
}
