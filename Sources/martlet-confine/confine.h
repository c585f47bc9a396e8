// What the last program before an app's runtime takes away from it.
#ifndef CONFINE_H
#define CONFINE_H

#include <stdint.h>

/// Folders and what may be done below them. Rules hold for what is mounted below a folder later, but not for what is
/// mounted on the folder itself (kernel documentation, userspace-api/landlock).
typedef struct {
    const char *path;
    enum { RULE_READ, RULE_EXECUTE, RULE_WRITE } kind;
} confine_rule;

/// The version of Landlock that this kernel has, 0 without.
int confine_landlock_version(void);

/// Restricts files to the rules, and signals and abstract sockets to this process's own descendants where the kernel can.
/// Returns 0 or a negative error number, with the rule it failed at in `*failed` (-1: none of them).
/// Without `has_links` no symbolic links, pipes or devices can be made: what an app leaves in its data is opened by programs
/// outside of its sandbox too.
int confine_files(const confine_rule *rules, int count, int has_links, int *failed);

/// Restricts system calls, for this process and all that it starts. Returns 0 or a negative error number.
int confine_calls(int has_links);

#endif
