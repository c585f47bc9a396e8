#define _GNU_SOURCE
#include "CSupervision.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct martlet_child {
  pid_t id;
  pthread_mutex_t lock;
  bool ended;
  void (*exited)(void *, int);
  void *context;
};

struct start {
  const char *path;
  char *const *arguments;
  char *const *environment;
  const char *folder;
  int descriptors[3];
  struct martlet_child *child;
  sem_t started;
  int error;
};

/// Between fork and exec: only calls that are safe after a fork of a process with threads.
static void become(const struct start *start, pid_t parent, int report) {
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (setsid() >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && (!start->folder || chdir(start->folder) == 0)) {
    if (getppid() != parent) _exit(127);
    // Above 2 first, so that none is overwritten before it is copied.
    int copies[3];
    for (int i = 0; i < 3; i++) copies[i] = fcntl(start->descriptors[i], F_DUPFD_CLOEXEC, 10);
    int placed = 0;
    for (int i = 0; i < 3; i++) placed += copies[i] >= 0 && dup2(copies[i], i) == i;
    if (placed == 3) {
      const unsigned int close_on_exec = 1U << 2; // CLOSE_RANGE_CLOEXEC
      if (syscall(436 /* close_range */, 3U, ~0U, close_on_exec) != 0)
        for (int fd = 3; fd < 4096; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
      execve(start->path, start->arguments, start->environment);
    }
  }
  int error = errno;
  ssize_t written = write(report, &error, sizeof error);
  (void)written;
  _exit(127);
}

static int start_child(struct start *start) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return errno;
  pid_t parent = getpid();
  pid_t id = fork();
  if (id < 0) {
    int error = errno;
    close(report[0]);
    close(report[1]);
    return error;
  }
  if (id == 0) become(start, parent, report[1]);
  close(report[1]);
  int error = 0;
  ssize_t got;
  do got = read(report[0], &error, sizeof error);
  while (got < 0 && errno == EINTR);
  close(report[0]);
  if (got == sizeof error) {
    while (waitpid(id, NULL, 0) < 0 && errno == EINTR) {}
    return error;
  }
  start->child->id = id;
  return 0;
}

static void *supervise(void *argument) {
  struct start *start = argument;
  struct martlet_child *child = start->child;
  start->error = start_child(start);
  int failed = start->error;
  sem_post(&start->started);
  // `start` is gone from here on.
  if (failed) return NULL;
  siginfo_t information;
  while (waitid(P_PID, (id_t)child->id, &information, WEXITED | WNOWAIT) != 0 && errno == EINTR) {}
  // The id stays the child's until it is reaped, which happens under the lock that senders of signals take.
  int status = 0;
  pthread_mutex_lock(&child->lock);
  child->ended = true;
  kill(-child->id, SIGKILL);
  while (waitpid(child->id, &status, 0) < 0 && errno == EINTR) {}
  pthread_mutex_unlock(&child->lock);
  child->exited(child->context, status);
  return NULL;
}

martlet_child *martlet_child_start(const char *path, char *const arguments[], char *const environment[],
                                   const char *folder, int input, int output, int errors,
                                   void (*exited)(void *, int), void *context, int *error) {
  struct martlet_child *child = calloc(1, sizeof *child);
  if (!child) {
    *error = ENOMEM;
    return NULL;
  }
  pthread_mutex_init(&child->lock, NULL);
  child->exited = exited;
  child->context = context;
  struct start start = {.path = path, .arguments = arguments, .environment = environment, .folder = folder,
                        .descriptors = {input, output, errors}, .child = child};
  sem_init(&start.started, 0, 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  pthread_t thread;
  int failed = pthread_create(&thread, &attributes, supervise, &start);
  pthread_attr_destroy(&attributes);
  if (!failed) {
    while (sem_wait(&start.started) != 0 && errno == EINTR) {}
    failed = start.error;
  }
  sem_destroy(&start.started);
  if (!failed) return child;
  *error = failed;
  martlet_child_free(child);
  return NULL;
}

pid_t martlet_child_id(const martlet_child *child) { return child->id; }

bool martlet_child_signal(martlet_child *child, int number, bool group) {
  pthread_mutex_lock(&child->lock);
  bool sent = !child->ended && kill(group ? -child->id : child->id, number) == 0;
  pthread_mutex_unlock(&child->lock);
  return sent;
}

void martlet_child_free(martlet_child *child) {
  pthread_mutex_destroy(&child->lock);
  free(child);
}

int martlet_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno; }

struct reading {
  int descriptor;
  void (*received)(void *, const unsigned char *, long);
  void *context;
};

static void *read_to_end(void *argument) {
  struct reading reading = *(struct reading *)argument;
  free(argument);
  unsigned char bytes[16384];
  while (true) {
    ssize_t count = read(reading.descriptor, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    reading.received(reading.context, bytes, count);
  }
  close(reading.descriptor);
  reading.received(reading.context, NULL, 0);
  return NULL;
}

int martlet_read_all(int descriptor, void (*received)(void *, const unsigned char *, long), void *context) {
  struct reading *reading = malloc(sizeof *reading);
  if (!reading) return ENOMEM;
  *reading = (struct reading){.descriptor = descriptor, .received = received, .context = context};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread;
  int failed = pthread_create(&thread, &attributes, read_to_end, reading);
  pthread_attr_destroy(&attributes);
  if (failed) free(reading);
  return failed;
}
