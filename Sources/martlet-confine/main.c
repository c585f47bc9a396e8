// martlet-confine: the last program before an app's runtime. It takes away what the runtime does not need, and becomes it.
//
//     martlet-confine --probe
//     martlet-confine [--read PATH] [--execute PATH] [--write PATH] [--file-bytes N] [--without files|calls] [--with links] -- PROGRAM …
#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { USAGE = 2, FAILED = 126, MAXIMUM_RULES = 32 };

static int fail(const char *what, const char *with, int error) {
    fprintf(stderr, "martlet-confine: %s %s: %s\n", what, with, strerror(error));
    return FAILED;
}

static int usage(const char *argument) {
    fprintf(stderr, "martlet-confine: %s is not understood\n", argument);
    return USAGE;
}

static int probe(void) {
    int can_filter = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    printf("{\"landlock\":%d,\"seccomp\":%s}\n", confine_landlock_version(), can_filter ? "true" : "false");
    return 0;
}

int main(int count, char **arguments) {
    confine_rule rules[MAXIMUM_RULES];
    int rule_count = 0, has_files = 1, has_calls = 1, has_links = 0, index = 1;
    struct rlimit file_bytes = {RLIM_INFINITY, RLIM_INFINITY};
    if (count == 2 && !strcmp(arguments[1], "--probe")) return probe();
    for (; index < count && strcmp(arguments[index], "--"); index += 2) {
        const char *name = arguments[index], *value = index + 1 < count ? arguments[index + 1] : NULL;
        if (!value) return usage(name);
        if (!strcmp(name, "--file-bytes")) {
            file_bytes.rlim_cur = file_bytes.rlim_max = strtoull(value, NULL, 10);
        } else if (!strcmp(name, "--without")) {
            if (!strcmp(value, "files")) has_files = 0;
            else if (!strcmp(value, "calls")) has_calls = 0;
            else return usage(value);
        } else if (!strcmp(name, "--with")) {
            if (strcmp(value, "links")) return usage(value);
            has_links = 1;
        } else {
            if (rule_count == MAXIMUM_RULES) return usage(name);
            rules[rule_count].path = value;
            if (!strcmp(name, "--read")) rules[rule_count++].kind = RULE_READ;
            else if (!strcmp(name, "--execute")) rules[rule_count++].kind = RULE_EXECUTE;
            else if (!strcmp(name, "--write")) rules[rule_count++].kind = RULE_WRITE;
            else return usage(name);
        }
    }
    if (index + 1 >= count) return usage("a command line without a program");
    syscall(SYS_close_range, 3, ~0U, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return fail("give up", "new privileges", errno);
    // A write beyond the limit fails with an error instead of ending the process.
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &file_bytes)) return fail("limit", "the size of files", errno);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_MSGQUEUE, &none);
    if (has_files) {
        int failed;
        int error = confine_files(rules, rule_count, has_links, &failed);
        if (error) return fail("restrict", failed < 0 ? "files" : rules[failed].path, -error);
    }
    if (has_calls) {
        int error = confine_calls(has_links);
        if (error) return fail("restrict", "system calls", -error);
    }
    execv(arguments[index + 1], arguments + index + 1);
    return fail("run", arguments[index + 1], errno);
}
