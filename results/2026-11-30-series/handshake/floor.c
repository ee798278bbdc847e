// The least that the calls of a WebSocket handshake take: connections set up over loopback by two threads, each of which
// owns both ends, so that nobody wakes anybody, and nothing is parsed, verified or measured.
//
//   floor MODE CONNECTIONS
//
// tcp: socket, connect, accept. messages: and a request of 190 bytes, answered with 129, written and read by both ends.
// epoll: and both ends registered, and waited for once per batch. Prints microseconds per connection.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, THREADS = 2, REQUEST_LEN = 190, RESPONSE_LEN = 129 };

static int has_messages, has_epoll;

static long must(const char *call, long result) {
    if (result >= 0) return result;
    perror(call);
    exit(1);
}

static void watch(int epoll, int fd, unsigned interest) {
    struct epoll_event event = {.events = interest | EPOLLET, .data.fd = fd};
    must("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static void *work(void *batches) {
    must("unshare", unshare(CLONE_FILES));
    int listener = must("socket", socket(AF_INET, SOCK_STREAM, 0)), on = 1;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof server;
    must("bind", bind(listener, (void *)&server, len));
    must("listen", listen(listener, 2 * BATCH));
    getsockname(listener, (void *)&server, &len);
    int clients = epoll_create1(0), servers = epoll_create1(0), here[BATCH], there[BATCH];
    struct epoll_event events[BATCH];
    char bytes[4096] = {0};
    for (long batch = (long)batches; batch > 0; batch--) {
        for (int n = 0; n < BATCH; n++) {
            here[n] = must("socket", socket(AF_INET, SOCK_STREAM, 0));
            must("connect", connect(here[n], (void *)&server, sizeof server));
            if (has_messages) {
                setsockopt(here[n], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                must("send", send(here[n], bytes, REQUEST_LEN, 0));
            }
            if (has_epoll) watch(clients, here[n], EPOLLIN);
        }
        for (int n = 0; n < BATCH; n++) {
            there[n] = must("accept", accept4(listener, 0, 0, SOCK_NONBLOCK));
            if (has_epoll) watch(servers, there[n], EPOLLIN | EPOLLOUT);
        }
        if (has_epoll) epoll_wait(servers, events, BATCH, 0);
        for (int n = 0; has_messages && n < BATCH; n++) {
            must("recv", recv(there[n], bytes, sizeof bytes, 0));
            must("send", send(there[n], bytes, RESPONSE_LEN, 0));
        }
        if (has_epoll) epoll_wait(clients, events, BATCH, 0);
        for (int n = 0; has_messages && n < BATCH; n++) must("recv", recv(here[n], bytes, sizeof bytes, 0));
    }
    return NULL;
}

int main(int count, char **words) {
    if (count != 3) return fprintf(stderr, "floor tcp|messages|epoll CONNECTIONS\n"), 2;
    has_epoll = !strcmp(words[1], "epoll");
    has_messages = has_epoll || !strcmp(words[1], "messages");
    long batches = atol(words[2]) / BATCH / THREADS;
    pthread_t threads[THREADS];
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int n = 0; n < THREADS; n++) pthread_create(&threads[n], NULL, work, (void *)batches);
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double us = (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) / 1e3;
    printf("%s,%.2f\n", words[1], us / (batches * BATCH * THREADS));
    return 0;
}
