#define _GNU_SOURCE
#include "cproxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define T CPROXY_TOKEN
#define U CPROXY_TARGET
#define N CPROXY_NAME
#define I CPROXY_IDENTIFIER
#define J CPROXY_JSON
#define X CPROXY_HEX
#define LETTER (T | U | N | I | J)
#define DIGIT (T | U | N | I | J | X)

const uint8_t cproxy_classes[256] = {
    [' '] = J, ['!'] = T | U | J, ['"'] = U, ['#'] = T | J, ['$'] = T | U | J, ['%'] = T | U | J,
    ['&'] = T | U | J, ['\''] = T | U | J, ['('] = U | J, [')'] = U | J, ['*'] = T | U | J,
    ['+'] = T | U | I | J, [','] = U | J, ['-'] = T | U | N | I | J, ['.'] = T | U | N | I | J,
    ['/'] = U | I | J, ['0' ... '9'] = DIGIT, [':'] = U | I | J, [';'] = U | J, ['<'] = U | J,
    ['='] = U | I | J, ['>'] = U | J, ['?'] = U | J, ['@'] = U | J, ['A' ... 'F'] = LETTER | X,
    ['G' ... 'Z'] = LETTER, ['['] = U | J, ['\\'] = U, [']'] = U | J, ['^'] = T | U | J,
    ['_'] = T | U | N | I | J, ['`'] = T | U | J, ['a' ... 'f'] = LETTER | X, ['g' ... 'z'] = LETTER,
    ['{'] = U | J, ['|'] = T | U | J, ['}'] = U | J, ['~'] = T | U | J,
};

static int result(int value) { return value >= 0 ? value : -errno; }

int cproxy_epoll_create(void) { return result(epoll_create1(EPOLL_CLOEXEC)); }

static int control_edge(int epoll, int operation, int fd, uint64_t data, int wants_output) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = data};
    if (wants_output) event.events |= EPOLLOUT;
    return result(epoll_ctl(epoll, operation, fd, &event));
}

int cproxy_epoll_add_edge(int epoll, int fd, uint64_t data, int wants_output) {
    return control_edge(epoll, EPOLL_CTL_ADD, fd, data, wants_output);
}

int cproxy_epoll_change_edge(int epoll, int fd, uint64_t data, int wants_output) {
    return control_edge(epoll, EPOLL_CTL_MOD, fd, data, wants_output);
}

int cproxy_epoll_add_level(int epoll, int fd, uint64_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    return result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int cproxy_epoll_remove(int epoll, int fd) { return result(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL)); }

int cproxy_epoll_wait(int epoll, cproxy_event *events, int capacity, int milliseconds) {
    struct epoll_event found[256];
    int room = capacity < 256 ? capacity : 256;
#ifdef CPROXY_LIBRARY_CALLS
    int count = epoll_wait(epoll, found, room, milliseconds);
#else
    int count = (int)syscall(SYS_epoll_pwait, epoll, found, room, milliseconds, NULL, 8);
#endif
    if (count < 0) return -errno;
    for (int index = 0; index < count; index++) {
        events[index].data = found[index].data.u64;
        events[index].events = found[index].events;
    }
    return count;
}

int cproxy_timer(void) { return result(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)); }

void cproxy_timer_set(int fd, uint64_t at_milliseconds) {
    if (at_milliseconds == 0) at_milliseconds = 1;
    struct itimerspec spec = {
        .it_value = {(time_t)(at_milliseconds / 1000), (long)(at_milliseconds % 1000) * 1000000}};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

int cproxy_eventfd(void) { return result(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

void cproxy_eventfd_signal(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

void cproxy_eventfd_drain(int fd) {
    uint64_t value;
    while (read(fd, &value, sizeof value) < 0 && errno == EINTR) {}
}

static socklen_t make_address(const char *text, int is_v6, uint16_t port, struct sockaddr_storage *address) {
    memset(address, 0, sizeof *address);
    if (is_v6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return inet_pton(AF_INET, text, &v4->sin_addr) == 1 ? sizeof *v4 : 0;
}

static void read_address(const struct sockaddr_storage *address, char *text, uint16_t *port) {
    text[0] = 0;
    *port = 0;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, text, CPROXY_ADDRESS_TEXT);
        *port = ntohs(v4->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, CPROXY_ADDRESS_TEXT);
        } else {
            inet_ntop(AF_INET6, &v6->sin6_addr, text, CPROXY_ADDRESS_TEXT);
        }
        *port = ntohs(v6->sin6_port);
    }
}

int cproxy_listen_tcp(const char *text, int is_v6, uint16_t *port, int reuse_port, int backlog) {
    struct sockaddr_storage address;
    socklen_t length = make_address(text, is_v6, *port, &address);
    if (length == 0) return -EINVAL;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (is_v6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    socklen_t bound = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bound) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    char ignored[CPROXY_ADDRESS_TEXT];
    read_address(&address, ignored, port);
    return fd;
}

int cproxy_accept(int fd, char *text, uint16_t *port) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int accepted = accept4(fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return -errno;
    read_address(&address, text, port);
    return accepted;
}

void cproxy_peer_address(int fd, char *text, uint16_t *port) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    text[0] = 0;
    *port = 0;
    if (getpeername(fd, (struct sockaddr *)&address, &length) == 0) read_address(&address, text, port);
}

static int start_connecting(int fd, const struct sockaddr *address, socklen_t length, int *pending) {
    *pending = 0;
    if (connect(fd, address, length) == 0) return fd;
    int error = errno;
    if (error == EINPROGRESS || error == EINTR) {
        *pending = 1;
        return fd;
    }
    close(fd);
    return -error;
}

int cproxy_connect_unix(const char *path, int *pending) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    return start_connecting(fd, (struct sockaddr *)&address, sizeof address, pending);
}

int cproxy_connect_tcp(const char *text, int is_v6, uint16_t port, int *pending) {
    struct sockaddr_storage address;
    socklen_t length = make_address(text, is_v6, port, &address);
    if (length == 0) return -EINVAL;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    cproxy_set_no_delay(fd);
    return start_connecting(fd, (struct sockaddr *)&address, length, pending);
}

int cproxy_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
}

void cproxy_set_no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void cproxy_probe(int fd, int idle, int interval, int count) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

int cproxy_owes_acknowledgement(int fd, uint32_t *milliseconds) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return -errno;
    *milliseconds = info.tcpi_last_ack_recv;
    return info.tcpi_unacked > 0 || info.tcpi_probes > 0;
}

int cproxy_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    return result(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int cproxy_socket_pair(int fds[2]) {
    return result(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

int cproxy_is_quiet(int fd) {
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

int cproxy_shutdown_write(int fd) { return result(shutdown(fd, SHUT_WR)); }

void cproxy_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

void cproxy_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

void cproxy_pin_thread(int processor) {
    cpu_set_t set;
    if (processor < 0 || processor >= CPU_SETSIZE) return;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

int cproxy_thread_id(void) { return (int)syscall(SYS_gettid); }

int cproxy_random(void *bytes, size_t count) {
    size_t done = 0;
    while (done < count) {
        ssize_t got = getrandom((char *)bytes + done, count - done, 0);
        if (got < 0 && errno != EINTR) return -errno;
        if (got > 0) done += (size_t)got;
    }
    return 0;
}

int cproxy_open_append(const char *path) {
    return result(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
}

int64_t cproxy_write_all(int fd, const void *bytes, size_t count) {
    size_t done = 0;
    while (done < count) {
        ssize_t wrote = write(fd, (const char *)bytes + done, count - done);
        if (wrote < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) {
                struct pollfd wait = {.fd = fd, .events = POLLOUT};
                if (poll(&wait, 1, 1000) > 0) continue;
                return -EAGAIN;
            }
            return -errno;
        }
        done += (size_t)wrote;
    }
    return (int64_t)done;
}

void cproxy_close(int fd) { close(fd); }

uint64_t cproxy_monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t cproxy_wall_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void cproxy_format_second(int64_t seconds, char *text) {
    time_t time = (time_t)seconds;
    struct tm parts;
    char whole[32];
    gmtime_r(&time, &parts);
    strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts);
    memcpy(text, whole, 19);
}

int cproxy_address_family(const char *text) {
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) return 0;
    return inet_pton(AF_INET6, text, bytes) == 1 ? 1 : -1;
}

void cproxy_format_address(const uint8_t *bytes, int is_v6, char *text) {
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, bytes, text, CPROXY_ADDRESS_TEXT);
}
