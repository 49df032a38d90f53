// A library to preload before libfaketime 0.9.10 (Debian 12) while the monotonic clock stays true.
//
// libfaketime shifts times of that clock all the same: the end of an absolute sleep, whereupon
// Python's time.sleep fails with EINVAL, and the end of a wait for a condition, whereupon each wait
// for Python's global lock ends at once or, rarely, with an error that aborts the process. Here the
// functions of the C library are called instead.
//
// All processes of a run share libfaketime's semaphore and memory. A process that is killed while it
// has the semaphore stops every later process at its start, a process of another user may not open
// them, and the descriptor takes the place of a closed standard output. Here each process has its own;
// the program faketime makes and removes the shared ones all the same.
//
// Built by the Makefile.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*nanosleep_by)(clockid_t, int, const struct timespec *, struct timespec *);
typedef sem_t *(*open_by)(const char *, int, mode_t, unsigned);
typedef int (*share_by)(const char *, int, mode_t);
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

    if (strncmp(name, "/faketime_sem_", 14) == 0 && !(flags & O_EXCL)) {
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

int shm_open(const char *name, int flags, mode_t mode)
{
    // struct ft_shared_s: two numbers and the times of the start on three clocks, all unknown.
    static const int64_t unknown[8] = {0, 0, 0, -1, 0, -1, 0, -1};
    int low, made;

    if (strncmp(name, "/faketime_shm_", 14) != 0 || flags & O_EXCL)
        return ((share_by)dlsym(RTLD_NEXT, "shm_open"))(name, flags, mode);
    low = memfd_create("faketime", MFD_CLOEXEC);
    made = fcntl(low, F_DUPFD_CLOEXEC, 3);
    close(low);
    if (made >= 0 && write(made, unknown, sizeof unknown) != sizeof unknown)
        return -1;
    return made;
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
