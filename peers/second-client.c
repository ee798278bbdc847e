// A second opinion: a WebSocket load client that shares no code with the project, so that no figure rests on one client.
//
//   gcc -O2 -o second-client second-client.c -lpthread
//   second-client HOST PORT PATH CONNECTIONS PAYLOAD IN_FLIGHT SECONDS [TOTAL] [SERVER_PID]
//
// Opens TOTAL connections (default: CONNECTIONS), of which CONNECTIONS are active, in a closed loop: one send has IN_FLIGHT
// messages of PAYLOAD bytes, and the next follows when all of them are echoed. After one second of warm-up it measures for
// SECONDS, and prints one line; with SERVER_PID, also the server's CPU time. TEXT=1 in the environment sends text instead of
// binary messages. Every echo's opcode, length and content are compared with what was sent; it may be fragmented.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 2, BATCH = 64, READ_BYTES = 256 << 10, PER_SOURCE_ADDRESS = 10000 };

// Output is prepared once: a few rounds, each of IN_FLIGHT masked frames. All frames of a round differ, also from the next
// round's, so that an echo of another message is detected. A connection owns no buffer.
struct round_of_frames {
    unsigned char *bytes;
    const unsigned char **plain; // of each message
};

struct connection {
    int fd;
    unsigned round;           // which of the prepared rounds is in flight
    size_t sent;              // bytes of it that are written
    unsigned message;         // which of its messages is being echoed
    size_t at;                // bytes of that message that have come back
    uint64_t frame_left;      // payload bytes of the current frame that have not arrived
    unsigned char header[10]; // of the next frame, as far as it has arrived
    unsigned char header_len;
    unsigned char opcode, fin, started;
};

struct shard {
    size_t first, last; // connections of all, [first, last)
    _Alignas(128) _Atomic uint64_t echoes;
    double opened_s; // time it took to open them
};

static struct sockaddr_in server;
static char request[1024];
static size_t payload_bytes, total, active, frames_bytes;
static unsigned in_flight, rounds_n;
static struct round_of_frames *rounds;
static unsigned char data_opcode = 2;
static pthread_barrier_t opened;

static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format), flockfile(stderr); // one thread reports
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    _exit(1);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t next_random(void) { // xorshift64
    static uint64_t x = 0x9e3779b97f4a7c15;
    return x ^= x << 13, x ^= x >> 7, x ^= x << 17;
}

static size_t put_header(unsigned char *to, size_t len, const unsigned char key[4]) {
    size_t n = 2;
    to[0] = 0x80 | data_opcode;
    int wide = len > 0xffff ? 8 : len > 125 ? 2 : 0;
    to[1] = 0x80 | (wide == 8 ? 127 : wide == 2 ? 126 : len);
    for (int i = wide; i-- > 0;) to[n++] = (uint64_t)len >> (8 * i);
    memcpy(to + n, key, 4);
    return n + 4;
}

static void prepare(void) {
    // Messages are slices of one text, at different offsets: ASCII, which is valid as text and as binary.
    rounds_n = in_flight * payload_bytes <= 64 << 10 ? 8 : 2;
    size_t offsets = (size_t)rounds_n * in_flight;
    unsigned char *text = malloc(payload_bytes + offsets);
    for (size_t i = 0; i < payload_bytes + offsets; i++) text[i] = 'A' + (next_random() >> 32) % 58;
    rounds = calloc(rounds_n, sizeof *rounds);
    for (unsigned r = 0; r < rounds_n; r++) {
        unsigned char *to = rounds[r].bytes = malloc(in_flight * (payload_bytes + 14));
        rounds[r].plain = malloc(in_flight * sizeof(void *));
        for (unsigned m = 0; m < in_flight; m++) {
            const unsigned char *plain = rounds[r].plain[m] = text + (size_t)r * in_flight + m;
            unsigned char key[4];
            uint64_t random = next_random();
            memcpy(key, &random, 4);
            to += put_header(to, payload_bytes, key);
            for (size_t i = 0; i < payload_bytes; i++) *to++ = plain[i] ^ key[i & 3];
        }
        frames_bytes = to - rounds[r].bytes;
    }
}

static int open_socket(size_t i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) fail("connection %zu: socket: %s", i, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (total > PER_SOURCE_ADDRESS && ntohl(server.sin_addr.s_addr) >> 24 == 127) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + i / PER_SOURCE_ADDRESS)};
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    }
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) fail("connection %zu: connect: %s", i, strerror(errno));
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request)) fail("handshake: %s", strerror(errno));
    return fd;
}

static void end_handshake(int fd) {
    char head[4096] = {0};
    size_t n = 0;
    while (!strstr(head, "\r\n\r\n")) {
        ssize_t got = recv(fd, head + n, sizeof head - 1 - n, 0);
        if (got <= 0) fail("handshake: %s", got ? strerror(errno) : "the server closed the connection");
        n += got;
    }
    if (strncmp(head, "HTTP/1.1 101", 12) || !strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) fail("handshake: %.30s", head);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void send_more(struct connection *c) {
    while (c->sent < frames_bytes) {
        ssize_t n = send(c->fd, rounds[c->round].bytes + c->sent, frames_bytes - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) fail("send: %s", strerror(errno));
        c->sent += n;
    }
}

static void check_header(struct connection *c, const unsigned char *h) {
    c->fin = h[0] >> 7, c->opcode = h[0] & 15;
    if (h[0] & 0x70) fail("a reserved bit is set");
    if (h[1] & 0x80) fail("the server masks");
    if (c->opcode == 8) fail("the server sent Close");
    if (c->opcode > 8) return; // Ping and Pong: skipped
    if (c->opcode != (c->started ? 0 : data_opcode)) fail("opcode %d in answer to %d", c->opcode, data_opcode);
    c->started = 1;
    if (c->message == in_flight) fail("more echoes than messages");
    if (c->frame_left > payload_bytes - c->at) fail("an echo is longer than its message");
}

// The length of the next header, as far as its bytes have arrived.
static size_t header_bytes(const struct connection *c) {
    unsigned char len = c->header_len < 2 ? 0 : c->header[1] & 127;
    return len == 126 ? 4 : len == 127 ? 10 : 2;
}

// Takes the bytes received. Returns the number of messages that are echoed in full.
static unsigned take(struct connection *c, const unsigned char *in, size_t len) {
    const unsigned char *end = in + len;
    unsigned echoes = 0;
    for (;;) {
        if (!c->frame_left) {
            size_t need;
            while (c->header_len < (need = header_bytes(c)) && in < end) c->header[c->header_len++] = *in++;
            if (c->header_len < need) return echoes;
            c->header_len = 0;
            c->frame_left = c->header[1] & 127;
            if (need > 2) c->frame_left = 0;
            for (size_t i = 2; i < need; i++) c->frame_left = c->frame_left << 8 | c->header[i];
            check_header(c, c->header);
        }
        size_t n = c->frame_left < (size_t)(end - in) ? c->frame_left : (size_t)(end - in);
        if (c->opcode < 8) {
            if (n && memcmp(in, rounds[c->round].plain[c->message] + c->at, n)) fail("an echo differs from its message");
            c->at += n;
        }
        in += n, c->frame_left -= n;
        if (c->frame_left) return echoes;
        if (c->opcode < 8 && c->fin) {
            if (c->at != payload_bytes) fail("an echo of %zu bytes for %zu", c->at, payload_bytes);
            c->at = c->started = 0, c->message++, echoes++;
        }
    }
}

// Edge-triggered: reads until a short read. First writes pending output, so that reads and writes alternate.
static void serve(struct shard *shard, struct connection *c, unsigned char *buffer) {
    for (;;) {
        if (c->sent < frames_bytes) send_more(c);
        ssize_t n = recv(c->fd, buffer, READ_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) fail("receive: %s", n ? strerror(errno) : "the server closed the connection");
        unsigned echoes = take(c, buffer, n);
        if (echoes) atomic_fetch_add_explicit(&shard->echoes, echoes, memory_order_relaxed);
        if (c->message == in_flight) {
            if (c->sent < frames_bytes) fail("echoed before it was sent");
            c->message = c->sent = 0, c->round = (c->round + 1) % rounds_n;
            send_more(c);
        }
        if (n < READ_BYTES) return;
    }
}

static void *drive(void *arg) {
    struct shard *shard = arg;
    if (unshare(CLONE_FILES)) fail("unshare: %s", strerror(errno)); // the limit on descriptors is per table
    size_t n = shard->last - shard->first, actives = 0;
    int *fds = malloc((n + 1) * sizeof *fds), poll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc(n + 1, sizeof *connections);
    double start = now_s();
    for (size_t i = 0; i < n; i += BATCH) {
        size_t end = i + BATCH < n ? i + BATCH : n;
        for (size_t j = i; j < end; j++) fds[j] = open_socket(shard->first + j);
        for (size_t j = i; j < end; j++) end_handshake(fds[j]);
    }
    shard->opened_s = now_s() - start;
    for (size_t i = shard->first; i < shard->last; i++) { // the active ones are spread over all
        if ((i + 1) * active / total == i * active / total) continue;
        struct connection *c = &connections[actives++];
        c->fd = fds[i - shard->first], c->round = i % rounds_n;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    }
    pthread_barrier_wait(&opened);
    for (size_t i = 0; i < actives; i++) send_more(&connections[i]);
    unsigned char *buffer = malloc(READ_BYTES);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) serve(shard, events[i].data.ptr, buffer);
    }
    return NULL;
}

static double cpu_s(const char *pid) {
    char path[64], line[1024], *after;
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file) || !(after = strrchr(line, ')')) ||
        sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fail("%s: cannot be read", path);
    fclose(file);
    return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

int main(int argc, char **argv) {
    if (argc < 8) fail("HOST PORT PATH CONNECTIONS PAYLOAD IN_FLIGHT SECONDS [TOTAL] [SERVER_PID]");
    server.sin_family = AF_INET, server.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) fail("%s: not an IPv4 address", argv[1]);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             argv[3], argv[1], argv[2]);
    active = strtoul(argv[4], 0, 10), payload_bytes = strtoul(argv[5], 0, 10), in_flight = strtoul(argv[6], 0, 10);
    double seconds = atof(argv[7]);
    total = argc > 8 ? strtoul(argv[8], 0, 10) : active;
    const char *pid = argc > 9 ? argv[9] : NULL;
    if (!active || !in_flight || seconds <= 0 || total < active) fail("of nothing, for nothing, or more active than TOTAL");
    if (getenv("TEXT")) data_opcode = 1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files), files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    alarm(120 + (unsigned)seconds); // ends a run that hangs
    prepare();

    static struct shard shards[THREADS];
    pthread_barrier_init(&opened, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        shards[i].first = total * i / THREADS, shards[i].last = total * (i + 1) / THREADS;
        if (pthread_create(&thread, NULL, drive, &shards[i])) fail("cannot start a thread");
    }
    pthread_barrier_wait(&opened);
    double opened_s = 0, from[2] = {0}, cpu[2] = {0};
    uint64_t echoes[2] = {0};
    for (int end = 0; end < 2; end++) { // the two ends of what is measured
        usleep(end ? seconds * 1e6 : 1e6);
        from[end] = now_s();
        if (pid) cpu[end] = cpu_s(pid);
        for (int i = 0; i < THREADS; i++) {
            echoes[end] += atomic_load(&shards[i].echoes);
            if (shards[i].opened_s > opened_s) opened_s = shards[i].opened_s;
        }
    }
    uint64_t done = echoes[1] - echoes[0];
    printf("%.0f echoes/s", done / (from[1] - from[0]));
    if (pid && done) printf("; %.3f us of server CPU per echo", (cpu[1] - cpu[0]) * 1e6 / done);
    printf("; %.0f connections/s set up\n", total / opened_s), fflush(stdout);
    _exit(done ? 0 : 1);
}
