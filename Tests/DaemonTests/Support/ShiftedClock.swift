import Foundation
import TestSupport

/// A time of day for programs that is ahead of or behind this machine's, and may change while they run.
///
/// It is a library that they preload, compiled by the compiler that comes with Swift. Only the time of day is another one: clocks
/// that never go back, and timers by them, are left as they are, as it is where somebody sets a machine's clock.
struct ShiftedClock {
    private let library: String
    private let offset: String

    init(in folder: String) async throws {
        library = folder + "/clock.so"
        offset = folder + "/clock"
        let source = folder + "/clock.c"
        try Self.source.write(toFile: source, atomically: true, encoding: .utf8)
        _ = try await run(
            "/usr/bin/env",
            ["clang", "-shared", "-fPIC", "-O1", "-o", library, source],
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"]
        )
        try shift(bySeconds: 0)
    }

    /// What a program needs in its environment to have this clock.
    var environment: [String: String] { ["LD_PRELOAD": library, "SHIFTED_CLOCK": offset] }

    func shift(bySeconds seconds: Int) throws {
        try "\(seconds)".write(toFile: offset, atomically: true, encoding: .utf8)
    }

    private static let source = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        #include <errno.h>

        static long shift(void) {
            int kept = errno;
            const char *path = getenv("SHIFTED_CLOCK");
            char text[32] = "0";
            int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            if (file >= 0) {
                ssize_t count = read(file, text, sizeof text - 1);
                text[count > 0 ? count : 0] = 0;
                close(file);
            }
            errno = kept;
            return atol(text);
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int result = syscall(SYS_clock_gettime, clock, time);
            if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += shift();
            return result;
        }

        int gettimeofday(struct timeval *restrict time, void *restrict zone) {
            int result = syscall(SYS_gettimeofday, time, zone);
            if (result == 0) time->tv_sec += shift();
            return result;
        }

        time_t time(time_t *result) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (result) *result = now.tv_sec;
            return now.tv_sec;
        }
        """
}
