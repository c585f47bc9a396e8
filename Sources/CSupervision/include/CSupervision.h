#ifndef MARTLET_CSUPERVISION_H
#define MARTLET_CSUPERVISION_H

#include <stdbool.h>
#include <sys/types.h>

/// A child process and the thread that waits for it.
typedef struct martlet_child martlet_child;

/// Starts a program in a session of its own; it is killed when this process dies, however it dies.
///
/// A thread of its own starts the program, waits for it, and calls `exited` once with its status from wait(2): the
/// kernel ties the child's life to the thread that made it. The descriptors become the child's 0, 1 and 2; all others
/// are closed in it. Returns null and sets `error` to errno when the program can't be started.
martlet_child *martlet_child_start(const char *path, char *const arguments[], char *const environment[],
                                   const char *folder, int input, int output, int errors,
                                   void (*exited)(void *context, int status), void *context, int *error);

/// The child's process id, also after its end.
pid_t martlet_child_id(const martlet_child *child);

/// Sends a signal to the child, or to its whole process group. False when it has ended already.
bool martlet_child_signal(martlet_child *child, int number, bool group);

/// Gives the memory back. Only after `exited` was called.
void martlet_child_free(martlet_child *child);

/// Reads a descriptor to its end on a thread of its own, closes it, and hands over what came, at last nothing.
///
/// The bytes belong to the caller of `received` only during the call. 0, or errno; then nothing was taken or closed.
int martlet_read_all(int descriptor, void (*received)(void *context, const unsigned char *bytes, long count),
                     void *context);

/// Makes a pipe whose ends no child inherits. 0, or errno.
int martlet_pipe(int ends[2]);

#endif
