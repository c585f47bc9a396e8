// The system calls that the reactor makes, as functions that return a negative error number instead of
// setting errno, and the byte classes of HTTP. Nothing here decides anything.
#ifndef CPROXY_H
#define CPROXY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/// One event of the reactor: what happened, and the number that was registered.
typedef struct {
    uint64_t data;
    uint32_t events;
} cproxy_event;

enum {
    CPROXY_IN = 0x001,
    CPROXY_OUT = 0x004,
    CPROXY_ERR = 0x008,
    CPROXY_HUP = 0x010,
    CPROXY_RDHUP = 0x2000,
};

/// The room for an address in text, with its end: IPv6 with a scope.
enum { CPROXY_ADDRESS_TEXT = 64 };

int cproxy_epoll_create(void);
/// Registers for reading and the peer's end, and for writing if wanted; edge-triggered.
int cproxy_epoll_add_edge(int epoll, int fd, uint64_t data, int wants_output);
/// Changes whether writing is wanted.
int cproxy_epoll_change_edge(int epoll, int fd, uint64_t data, int wants_output);
/// Registers for reading, level-triggered.
int cproxy_epoll_add_level(int epoll, int fd, uint64_t data);
int cproxy_epoll_remove(int epoll, int fd);
/// Waits at most `milliseconds` (-1: for ever) and fills at most 256 events.
int cproxy_epoll_wait(int epoll, cproxy_event *events, int capacity, int milliseconds);

/// A timer of the monotonic clock that becomes readable when it is due.
int cproxy_timer(void);
void cproxy_timer_set(int fd, uint64_t at_milliseconds);

int cproxy_eventfd(void);
void cproxy_eventfd_signal(int fd);
void cproxy_eventfd_drain(int fd);

/// Listens on a numeric address; `*port` is the wanted port and becomes the one that was bound.
int cproxy_listen_tcp(const char *address, int is_v6, uint16_t *port, int reuse_port, int backlog);
/// Accepts a connection and writes the peer's address in text and its port.
int cproxy_accept(int fd, char *text, uint16_t *port);
/// The peer's address of an open connection; an empty text where it has none.
void cproxy_peer_address(int fd, char *text, uint16_t *port);
/// Starts connecting: the descriptor, with `*pending` set when the connection is not made yet.
int cproxy_connect_unix(const char *path, int *pending);
int cproxy_connect_tcp(const char *address, int is_v6, uint16_t port, int *pending);
int cproxy_socket_error(int fd);
void cproxy_set_no_delay(int fd);
/// Lets the kernel ask whether the other end of a TCP connection is still there: after `idle` seconds without a byte, then
/// every `interval` seconds; after `count` times without an answer the connection is broken (ETIMEDOUT). What is accepted
/// from a listener gets it from there.
void cproxy_probe(int fd, int idle, int interval, int count);
/// Whether the other end of a TCP connection owes an acknowledgement, of bytes or of a probe: 1 or 0, and
/// `*milliseconds` since it has last acknowledged something. A negative number for what is not TCP.
int cproxy_owes_acknowledgement(int fd, uint32_t *milliseconds);
int cproxy_set_nonblocking(int fd);
int cproxy_socket_pair(int fds[2]);
/// 1 when there is nothing to read and no end, so that a kept connection may be used again.
int cproxy_is_quiet(int fd);
int cproxy_shutdown_write(int fd);
void cproxy_ignore_sigpipe(void);
/// Names the calling thread, for people who look with ps or top.
void cproxy_name_thread(const char *name);
/// Keeps the calling thread on one processor.
void cproxy_pin_thread(int processor);
/// The kernel's number of the calling thread.
int cproxy_thread_id(void);
int cproxy_random(void *bytes, size_t count);
int cproxy_open_append(const char *path);
int64_t cproxy_write_all(int fd, const void *bytes, size_t count);
void cproxy_close(int fd);

/// Nanoseconds of the monotonic clock.
uint64_t cproxy_monotonic(void);
/// Milliseconds since 1970.
int64_t cproxy_wall_milliseconds(void);
/// Writes `2026-11-24T06:07:08` (19 bytes) for seconds since 1970, in UTC.
void cproxy_format_second(int64_t seconds, char *text);
/// Whether the text is a numeric IPv6 (1) or IPv4 (0) address; -1 for anything else.
int cproxy_address_family(const char *text);
/// Writes the text of 4 or 16 bytes of address.
void cproxy_format_address(const uint8_t *bytes, int is_v6, char *text);

// recv and send of the C library are cancellation points, which costs as many instructions again as the call itself;
// nobody cancels these threads. The sanitizers know only the library's.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CPROXY_LIBRARY_CALLS 1
#endif
#endif

static inline ssize_t cproxy_recv(int fd, void *bytes, size_t count) {
#ifdef CPROXY_LIBRARY_CALLS
    ssize_t got = recv(fd, bytes, count, 0);
#else
    ssize_t got = syscall(SYS_recvfrom, fd, bytes, count, 0, NULL, NULL);
#endif
    return got >= 0 ? got : -(ssize_t)errno;
}

static inline ssize_t cproxy_send(int fd, const void *bytes, size_t count) {
#ifdef CPROXY_LIBRARY_CALLS
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
#else
    ssize_t sent = syscall(SYS_sendto, fd, bytes, count, MSG_NOSIGNAL, NULL, 0);
#endif
    return sent >= 0 ? sent : -(ssize_t)errno;
}

/// Sends two pieces with one call.
static inline ssize_t cproxy_send2(int fd, const void *a, size_t a_count, const void *b, size_t b_count) {
    struct iovec pieces[2] = {{(void *)a, a_count}, {(void *)b, b_count}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    return sent >= 0 ? sent : -(ssize_t)errno;
}

/// Copies bytes that do not overlap, short runs without a call.
static inline void cproxy_copy(uint8_t *to, const uint8_t *from, size_t count) {
    if (count > 32) {
        memcpy(to, from, count);
    } else if (count >= 16) {
        // Two pieces that may share bytes are as good as a loop.
        uint64_t words[4];
        memcpy(words, from, 16);
        memcpy(words + 2, from + count - 16, 16);
        memcpy(to, words, 16);
        memcpy(to + count - 16, words + 2, 16);
    } else if (count >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + count - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + count - 8, &last, 8);
    } else if (count >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + count - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + count - 4, &last, 4);
    } else if (count > 0) {
        uint8_t middle = from[count / 2], last = from[count - 1];
        to[0] = from[0];
        to[count / 2] = middle;
        to[count - 1] = last;
    }
}

// A counter has one writer, its loop; other threads only read. So a relaxed load and store are enough,
// and cost what a plain addition costs.
static inline void cproxy_count(uint64_t *counter, uint64_t amount) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

static inline uint64_t cproxy_read_count(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

enum {
    CPROXY_TOKEN = 1,       // RFC 9110 5.6.2: tchar
    CPROXY_TARGET = 2,      // visible ASCII but '#': what may stand in a request target
    CPROXY_NAME = 4,        // letters, digits, '-', '.', '_': what may stand in a host name
    CPROXY_IDENTIFIER = 8,  // what may stand in a request id that is passed on
    CPROXY_JSON = 16,       // goes into a JSON string as it is
    CPROXY_HEX = 32,
};

extern const uint8_t cproxy_classes[256];

/// The classes of a byte, as a set of bits.
static inline uint8_t cproxy_class(uint8_t byte) { return cproxy_classes[byte]; }

/// Whether bytes are a word whatever their case; the word is in lower case, and neither has a control character: in
/// visible ASCII the bit that is ignored tells nothing but the case of letters.
static inline int cproxy_is_word(const uint8_t *bytes, const uint8_t *word, size_t count) {
    if (count >= 8) {
        for (size_t index = 0; index < count;) {
            uint64_t a, b;
            memcpy(&a, bytes + index, 8);
            memcpy(&b, word + index, 8);
            if (((a ^ b) & 0xDFDFDFDFDFDFDFDFu) != 0) return 0;
            index += 8;
            if (index < count && index + 8 > count) index = count - 8;
        }
        return 1;
    }
    if (count >= 4) {
        uint32_t a, b, c, d;
        memcpy(&a, bytes, 4);
        memcpy(&b, word, 4);
        memcpy(&c, bytes + count - 4, 4);
        memcpy(&d, word + count - 4, 4);
        return (((a ^ b) | (c ^ d)) & 0xDFDFDFDFu) == 0;
    }
    for (size_t index = 0; index < count; index++)
        if (((bytes[index] ^ word[index]) & 0xDF) != 0) return 0;
    return 1;
}

#ifdef __SSE2__
typedef uint8_t cproxy_bytes16 __attribute__((vector_size(16), aligned(1), may_alias));

/// One bit for each of 16 bytes whose comparison was true.
static inline unsigned cproxy_mask(cproxy_bytes16 found) {
    typedef char signed16 __attribute__((vector_size(16)));
    return (unsigned)__builtin_ia32_pmovmskb128((signed16)found);
}
#endif

/// The first byte at or after `start` that is a control character (DEL too, HTAB not), or `end`.
static inline ptrdiff_t cproxy_first_control(const uint8_t *bytes, ptrdiff_t start, ptrdiff_t end) {
#ifdef __SSE2__
    while (start + 16 <= end) {
        cproxy_bytes16 word = *(const cproxy_bytes16 *)(bytes + start);
        unsigned found = cproxy_mask((cproxy_bytes16)(((word < 0x20) & (word != 9)) | (word == 0x7F)));
        if (found != 0) return start + __builtin_ctz(found);
        start += 16;
    }
#endif
    while (start < end && ((bytes[start] >= 0x20 && bytes[start] != 0x7F) || bytes[start] == 9)) start++;
    return start;
}

/// The first byte at or after `start` that does not belong to a token (RFC 9110 5.6.2), or `end`.
///
/// Names are mostly letters and hyphens, so those are looked for at once.
static inline ptrdiff_t cproxy_token_end(const uint8_t *bytes, ptrdiff_t start, ptrdiff_t end) {
#ifdef __SSE2__
    if (start + 16 <= end) {
        cproxy_bytes16 word = *(const cproxy_bytes16 *)(bytes + start);
        unsigned others =
            ~cproxy_mask((cproxy_bytes16)((((word | 0x20) - 0x61) < 26) | (word == 0x2D))) & 0xFFFF;
        start += others != 0 ? __builtin_ctz(others) : 16;
    }
#endif
    while (start < end && (cproxy_class(bytes[start]) & CPROXY_TOKEN)) start++;
    return start;
}

#endif
