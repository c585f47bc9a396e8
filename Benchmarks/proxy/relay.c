// Passes bytes between TCP clients and a unix socket and understands none of them: what a proxy costs before it has read
// a request, by one way of input and output or another. For the benchmarks alone: it waits for slow readers by trying.
//   relay epoll PORT SOCKET     edge-triggered, recv and send
//   relay splice PORT SOCKET    the same with splice through a pipe
//   relay uring PORT SOCKET     io_uring: multishot recv into provided buffers, one system call for all that is ready
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, BUFFERS = 256 };

struct side {
    int fd;
    int pipe[2];
    size_t piped;
    struct side *other;
};

static struct sockaddr_un upstream = {.sun_family = AF_UNIX};

static void check(int result, const char *what) {
    if (result >= 0) return;
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(fd, 4096), "listen");
    return fd;
}

static struct side *open_pair(int client, int flags) {
    int one = 1, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    check(connect(fd, (struct sockaddr *)&upstream, sizeof upstream), "connect");
    struct side *pair = calloc(2, sizeof *pair);
    if (pair == NULL) exit(1);
    pair[0] = (struct side){.fd = client, .other = &pair[1]};
    pair[1] = (struct side){.fd = fd, .other = &pair[0]};
    return pair;
}

// Each returns -1 when the connection is over.
static int copy(struct side *from) {
    static char bytes[ROOM] __attribute__((aligned(4096)));
    for (;;) {
        ssize_t got = recv(from->fd, bytes, sizeof bytes, 0);
        if (got <= 0) return got < 0 && errno == EAGAIN ? 0 : -1;
        for (ssize_t done = 0; done < got;) {
            ssize_t sent = send(from->other->fd, bytes + done, (size_t)(got - done), MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN) return -1;
            if (sent > 0) done += sent;
        }
        if ((size_t)got < sizeof bytes) return 0;
    }
}

static int move(struct side *from) {
    int flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    if (from->pipe[1] == 0) {
        check(pipe2(from->pipe, O_NONBLOCK | O_CLOEXEC), "pipe");
        check(fcntl(from->pipe[0], F_SETPIPE_SZ, 1 << 20), "pipe size");
    }
    for (;;) {
        ssize_t got = splice(from->fd, NULL, from->pipe[1], NULL, 1 << 20, flags);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
        if (got > 0) from->piped += (size_t)got;
        while (from->piped > 0) {
            ssize_t sent = splice(from->pipe[0], NULL, from->other->fd, NULL, from->piped, flags);
            if (sent < 0 && errno != EAGAIN) return -1;
            if (sent > 0) from->piped -= (size_t)sent;
        }
        if (got < 0) return 0;
    }
}

static void run_epoll(int listener, int (*pass)(struct side *)) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    fcntl(listener, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int index = 0; index < ready; index++) {
            struct side *side = events[index].data.ptr;
            int client;
            if (side != NULL) {
                if (side->fd < 0 || pass(side) == 0) continue;
                close(side->fd);
                close(side->other->fd);
                side->fd = side->other->fd = -1;
                continue;
            }
            while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                side = open_pair(client, SOCK_NONBLOCK);
                for (int end = 0; end < 2; end++) {
                    event = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = &side[end]};
                    epoll_ctl(epoll, EPOLL_CTL_ADD, side[end].fd, &event);
                }
            }
        }
    }
}

static struct io_uring ring;
static struct io_uring_buf_ring *free_buffers;
static char *memory;

static char *buffer(int number) { return memory + (size_t)number * ROOM; }

static void give_back(int number) {
    io_uring_buf_ring_add(free_buffers, buffer(number), ROOM, (unsigned short)number, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(free_buffers, 1);
}

static struct io_uring_sqe *next(void) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    if (entry == NULL) {
        io_uring_submit(&ring);
        entry = io_uring_get_sqe(&ring);
    }
    if (entry == NULL) exit(1);
    return entry;
}

static void read_from(struct side *side) {
    struct io_uring_sqe *entry = next();
    io_uring_prep_recv_multishot(entry, side->fd, NULL, 0, 0);
    entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = 0;
    io_uring_sqe_set_data(entry, side);
}

// What a completion is about: a side for a read, a buffer's number shifted left with a 1 behind it for a send.
static void complete(struct io_uring_cqe *done) {
    if (io_uring_cqe_get_data64(done) & 1) return give_back((int)(io_uring_cqe_get_data64(done) >> 1));
    struct side *side = io_uring_cqe_get_data(done);
    if (side == NULL) {
        if (done->res < 0) return;
        side = open_pair(done->res, 0);
        read_from(&side[0]);
        read_from(&side[1]);
        return;
    }
    if (done->res == -ENOBUFS) return read_from(side);
    if (done->res <= 0) {
        shutdown(side->other->fd, SHUT_RDWR);
        return;
    }
    int number = (int)(done->flags >> IORING_CQE_BUFFER_SHIFT);
    struct io_uring_sqe *entry = next();
    io_uring_prep_send(entry, side->other->fd, buffer(number), (size_t)done->res, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data64(entry, (uint64_t)number << 1 | 1);
    if (!(done->flags & IORING_CQE_F_MORE)) read_from(side);
}

static void run_uring(int listener) {
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 4096};
    struct io_uring_buf_reg group = {.ring_entries = BUFFERS, .bgid = 0};
    errno = -io_uring_queue_init_params(1024, &ring, &parameters);
    check(-errno, "io_uring");
    memory = aligned_alloc(4096, (size_t)BUFFERS * ROOM);
    free_buffers = aligned_alloc(4096, BUFFERS * sizeof(struct io_uring_buf));
    if (memory == NULL || free_buffers == NULL) exit(1);
    io_uring_buf_ring_init(free_buffers);
    group.ring_addr = (uintptr_t)free_buffers;
    errno = -io_uring_register_buf_ring(&ring, &group, 0);
    check(-errno, "buffers");
    for (int number = 0; number < BUFFERS; number++) give_back(number);
    struct io_uring_sqe *entry = next();
    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(entry, NULL);
    for (;;) {
        struct io_uring_cqe *done;
        unsigned head, count = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, done) {
            complete(done);
            count++;
        }
        io_uring_cq_advance(&ring, count);
    }
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: relay epoll|splice|uring PORT SOCKET\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    strncpy(upstream.sun_path, arguments[3], sizeof upstream.sun_path - 1);
    int listener = listen_on(atoi(arguments[2]));
    if (strcmp(arguments[1], "uring") == 0) run_uring(listener);
    run_epoll(listener, strcmp(arguments[1], "splice") == 0 ? move : copy);
}
