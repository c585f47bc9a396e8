// Measures WebSocket echo: N connections send a frame of 32 bytes each, and again when it has come back.
//   echoload PORT CONNECTIONS SECONDS      prints the number of round trips
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static const char handshake[] =
    "GET /echo HTTP/1.1\r\nHost: app1.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

static int open_one(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (write(fd, handshake, sizeof handshake - 1) < 0) return -1;
    char answer[4096];
    size_t used = 0;
    while (used < sizeof answer) {
        ssize_t got = read(fd, answer + used, sizeof answer - used);
        if (got <= 0) return -1;
        used += (size_t)got;
        if (memmem(answer, used, "\r\n\r\n", 4) != NULL) break;
    }
    return strncmp(answer, "HTTP/1.1 101", 12) == 0 ? fd : -1;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    int port = atoi(arguments[1]), connections = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    char frame[38] = {(char)0x82, (char)(0x80 | 32), 1, 2, 3, 4};
    int epoll = epoll_create1(0);
    int *missing = calloc(65536, sizeof(int));
    for (int index = 0; index < connections; index++) {
        int fd = open_one(port);
        if (fd < 0) {
            fprintf(stderr, "no tunnel through port %d\n", port);
            return 1;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        missing[fd] = sizeof frame;
        if (write(fd, frame, sizeof frame) < 0) return 1;
    }
    long trips = 0;
    struct epoll_event events[256];
    double end = now() + seconds;
    while (now() < end) {
        int ready = epoll_wait(epoll, events, 256, 100);
        for (int index = 0; index < ready; index++) {
            int fd = events[index].data.fd;
            char bytes[4096];
            ssize_t got = read(fd, bytes, sizeof bytes);
            if (got <= 0) {
                fprintf(stderr, "a tunnel ended\n");
                return 1;
            }
            missing[fd] -= (int)got;
            if (missing[fd] > 0) continue;
            trips++;
            missing[fd] = sizeof frame;
            if (write(fd, frame, sizeof frame) < 0) return 1;
        }
    }
    printf("%ld\n", trips);
}
