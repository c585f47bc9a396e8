// The server behind the proxies in the benchmarks: answers at once on a unix socket, costs as little as it can.
//   GET /        13 bytes          GET /100k    102,400 bytes         Upgrade:   echoes bytes
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BIG = 102400, ROOM = 64 * 1024 };

struct connection {
    int fd;
    int echoes;
    int watches;
    size_t used;
    const char *output;
    size_t left;
    char input[ROOM + 1];
};

static char small[256], big[BIG + 256];
static size_t small_size, big_size;
static const char upgrade[] =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void finish(struct connection *connection) {
    close(connection->fd);
    free(connection);
}

// 1: sent, 0: the rest waits, -1: gone.
static int flush(struct connection *connection) {
    while (connection->left > 0) {
        ssize_t sent = send(connection->fd, connection->output, connection->left, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        connection->output += sent;
        connection->left -= (size_t)sent;
    }
    return 1;
}

// Answers the complete requests in the input, one after another. Requests have no bodies here.
static int answer(struct connection *connection) {
    for (;;) {
        if (connection->left > 0) {
            int state = flush(connection);
            if (state <= 0) return state;
        }
        if (connection->echoes) {
            if (connection->used > 0 && send(connection->fd, connection->input, connection->used, MSG_NOSIGNAL) < 0)
                return -1;
            connection->used = 0;
            return 1;
        }
        connection->input[connection->used] = 0;
        char *end = memmem(connection->input, connection->used, "\r\n\r\n", 4);
        if (end == NULL) return 1;
        *end = 0;
        if (strcasestr(connection->input, "\nupgrade:") != NULL) {
            connection->output = upgrade;
            connection->left = sizeof upgrade - 1;
            connection->echoes = 1;
        } else if (strncmp(connection->input, "GET /100k", 9) == 0) {
            connection->output = big;
            connection->left = big_size;
        } else {
            connection->output = small;
            connection->left = small_size;
        }
        size_t head = (size_t)(end + 4 - connection->input);
        connection->used -= head;
        memmove(connection->input, end + 4, connection->used);
    }
}

// Asks to be told of room to write while something waits.
static void watch(int epoll, struct connection *connection) {
    int wants = connection->left > 0;
    if (wants == connection->watches) return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.ptr = connection};
    if (wants) event.events |= EPOLLOUT;
    connection->watches = wants;
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static int serve(struct connection *connection) {
    for (;;) {
        if (answer(connection) < 0) return -1;
        if (connection->left > 0 || connection->used == ROOM) return 0;
        ssize_t got = recv(connection->fd, connection->input + connection->used, ROOM - connection->used, 0);
        if (got < 0) return errno == EAGAIN ? 0 : -1;
        if (got == 0) return -1;
        connection->used += (size_t)got;
        if (connection->used < ROOM) return answer(connection);
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: upstream SOCKET\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    static const char fields[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=UTF-8\r\nvary: Accept-Encoding\r\n"
        "content-length: %d\r\ndate: Tue, 24 Nov 2026 03:49:20 GMT\r\n\r\n%s";
    small_size = (size_t)sprintf(small, fields, 13, "Hello, World!");
    big_size = (size_t)sprintf(big, fields, BIG, "");
    memset(big + big_size, 'x', BIG);
    big_size += BIG;

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    unlink(arguments[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        perror(arguments[1]);
        return 1;
    }
    chmod(arguments[1], 0777);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            if (connection != NULL) {
                if (serve(connection) < 0)
                    finish(connection);
                else
                    watch(epoll, connection);
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                connection = calloc(1, sizeof *connection);
                if (connection == NULL) abort();
                connection->fd = fd;
                event.events = EPOLLIN | EPOLLET | EPOLLRDHUP;
                event.data.ptr = connection;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
