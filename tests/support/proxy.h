/* SPDX-License-Identifier: MIT
   proxy.h: a TCP proxy on loopback that misbehaves when told: it stops to forward, or cuts a
   connection at a certain word. One thread serves up to PROXY_PAIRS_MAX connections.

   Include it after <cmocka.h>.                                                                  */
#ifndef SUPPORT_PROXY_H
#define SUPPORT_PROXY_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SUPPORT_UNUSED
#define SUPPORT_UNUSED __attribute__((unused))
#endif

typedef enum proxy_mode {
    PROXY_PASS,
    PROXY_HOLD,       /* nothing is forwarded any more, and nothing closed */
    PROXY_CUT_BEFORE, /* a client's bytes with the word are thrown away, and both sides closed */
    PROXY_CUT_AFTER   /* they are forwarded; both sides are closed when the server answers */
} proxy_mode;

enum { PROXY_PAIRS_MAX = 16 };

typedef struct proxy_pair {
    int  client, server; /* -1: free */
    bool doomed;         /* cut at the server's next answer */
} proxy_pair;

typedef struct proxy {
    int           port;        /* where it listens */
    int           target;      /* the port on 127.0.0.1 that it leads to */
    _Atomic(const char *) word; /* of the two modes that cut */
    _Atomic int   mode;
    _Atomic bool  stop;
    _Atomic int   accepted;    /* connections so far */
    int           listener;
    proxy_pair    pairs[PROXY_PAIRS_MAX];
    pthread_t     thread;
} proxy;

/* A server that is restarted meanwhile must not inherit our sockets. */
static int proxy_own_(int fd)
{
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd;
}

/* A socket that listens on a free port of 127.0.0.1. */
SUPPORT_UNUSED static int proxy_listen(int *port)
{
    int fd = proxy_own_(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        abort();
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static int proxy_dial_(int port)
{
    int fd = proxy_own_(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static void proxy_close_(proxy_pair *pair)
{
    close(pair->client);
    close(pair->server);
    pair->client = pair->server = -1;
    pair->doomed = false;
}

static void proxy_accept_(proxy *p)
{
    int client = proxy_own_(accept(p->listener, NULL, NULL));
    if (client < 0) {
        return;
    }
    atomic_fetch_add(&p->accepted, 1);
    for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
        proxy_pair *pair = &p->pairs[i];
        if (pair->client >= 0) {
            continue;
        }
        pair->server = proxy_dial_(p->target);
        if (pair->server >= 0) {
            pair->client = client;
            pair->doomed = false;
            return;
        }
        break;
    }
    close(client);
}

static bool proxy_holds_word_(const proxy *p, const char *bytes, size_t size)
{
    const char *word = atomic_load(&p->word);
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++) {
        if (memcmp(bytes + i, word, length) == 0) {
            return true;
        }
    }
    return false;
}

static void proxy_forward_(proxy *p, proxy_pair *pair, bool from_client)
{
    char bytes[65536];
    int from = from_client ? pair->client : pair->server;
    int to = from_client ? pair->server : pair->client;
    ssize_t size = recv(from, bytes, sizeof bytes, 0);
    int mode = atomic_load(&p->mode);
    bool hit = from_client && size > 0 && mode >= PROXY_CUT_BEFORE &&
               proxy_holds_word_(p, bytes, (size_t)size);
    if (size <= 0 || (hit && mode == PROXY_CUT_BEFORE) || (!from_client && pair->doomed)) {
        proxy_close_(pair);
        return;
    }
    pair->doomed = pair->doomed || hit;
    for (ssize_t sent = 0; sent < size;) {
        ssize_t step = send(to, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (step <= 0) {
            proxy_close_(pair);
            return;
        }
        sent += step;
    }
}

static void *proxy_run_(void *arg)
{
    proxy *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd polled[1 + 2 * PROXY_PAIRS_MAX];
        bool held = atomic_load(&p->mode) == PROXY_HOLD;
        polled[0] = (struct pollfd){p->listener, POLLIN, 0};
        for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
            polled[1 + 2 * i] = (struct pollfd){held ? -1 : p->pairs[i].client, POLLIN, 0};
            polled[2 + 2 * i] = (struct pollfd){held ? -1 : p->pairs[i].server, POLLIN, 0};
        }
        if (poll(polled, 1 + 2 * PROXY_PAIRS_MAX, 5) <= 0) {
            continue;
        }
        for (int i = 0; i < 2 * PROXY_PAIRS_MAX; i++) {
            proxy_pair *pair = &p->pairs[i / 2];
            bool still = polled[1 + i].fd == (i % 2 == 0 ? pair->client : pair->server);
            if (polled[1 + i].revents != 0 && pair->client >= 0 && still &&
                atomic_load(&p->mode) != PROXY_HOLD) {
                proxy_forward_(p, pair, i % 2 == 0);
            }
        }
        if (polled[0].revents != 0) {
            proxy_accept_(p);
        }
    }
    return NULL;
}

/* Leads to `target` from p->port on. */
SUPPORT_UNUSED static void proxy_start(proxy *p, int target)
{
    memset(p, 0, sizeof *p);
    p->target = target;
    atomic_store(&p->word, "");
    for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
        p->pairs[i].client = p->pairs[i].server = -1;
    }
    p->listener = proxy_listen(&p->port);
    if (pthread_create(&p->thread, NULL, proxy_run_, p) != 0) {
        abort();
    }
}

/* From now on; a word, static, only with the two that cut. */
SUPPORT_UNUSED static void proxy_set(proxy *p, proxy_mode mode, const char *word)
{
    if (word != NULL) {
        atomic_store(&p->word, word);
    }
    atomic_store(&p->mode, (int)mode);
}

SUPPORT_UNUSED static void proxy_stop(proxy *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < PROXY_PAIRS_MAX; i++) {
        if (p->pairs[i].client >= 0) {
            proxy_close_(&p->pairs[i]);
        }
    }
    close(p->listener);
}

#endif
