// A library to preload before libfaketime 0.9.10 (Debian 12) while the monotonic clock stays true.
//
// libfaketime shifts times of that clock all the same: the end of an absolute sleep, whereupon
// Python's time.sleep fails with EINVAL, and the end of a wait for a condition, whereupon each wait
// for Python's global lock ends at once or, rarely, with an error that aborts the process. Here the
// functions of the C library are called instead.
//
// All processes of a run share libfaketime's semaphore. A process that is killed while it has the
// semaphore stops every later process at its start. Here each process has a semaphore of its own.
//
// Built by the Makefile.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*nanosleep_by)(clockid_t, int, const struct timespec *, struct timespec *);
typedef sem_t *(*open_by)(const char *, int, mode_t, unsigned);
typedef int (*wait_until)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    if (clock == CLOCK_MONOTONIC)
        return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
    return ((nanosleep_by)dlsym(RTLD_NEXT, "clock_nanosleep"))(clock, flags, until, left);
}

sem_t *sem_open(const char *name, int flags, ...)
{
    static sem_t own;
    static int is_ready;
    va_list more;

    if (strncmp(name, "/faketime_sem_", 14) == 0) {
        if (!is_ready)  // the first call is made before the process has a second thread
            is_ready = sem_init(&own, 0, 1) == 0;
        return is_ready ? &own : SEM_FAILED;
    }
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    unsigned value = flags & O_CREAT ? va_arg(more, unsigned) : 0;
    va_end(more);
    return ((open_by)dlsym(RTLD_NEXT, "sem_open"))(name, flags, mode, value);
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
