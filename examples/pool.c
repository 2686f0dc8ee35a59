/* SPDX-License-Identifier: MIT
   pool.c: pool.h alone. Eight threads send 4000 requests over at most three TCP connections, in
   turn. The server, a thread of this program, hangs up after every hundredth request: whoever
   meets a dead connection says so, and the pool makes another.

   cc -std=c11 -O2 -I. examples/pool.c -pthread                                                 */
#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 8, REQUESTS = 500, PATIENCE = 100, SIZE = 3 };

/* ---- the pool ---- */

static int dial(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)ctx; /* to loopback: answered or refused at once */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)user, sizeof(struct sockaddr_in)) == 0) {
        *resource = (void *)(intptr_t)fd;
        return 0;
    }
    int why = errno;
    if (fd >= 0) close(fd);
    return why;
}

static void hang_up(void *user, void *resource)
{
    (void)user;
    close((int)(intptr_t)resource);
}

static int ask(const rsl_ctx *ctx, void *resource, void *arg, bool *broken)
{
    (void)ctx, (void)arg;
    int fd = (int)(intptr_t)resource;
    char answer = 0;
    if (send(fd, "?", 1, MSG_NOSIGNAL) == 1 && recv(fd, &answer, 1, 0) == 1 && answer == '!')
        return 0;
    *broken = true; /* it is destroyed, and another one made when somebody needs it */
    return ECONNRESET;
}

static void *work(void *arg)
{
    rsl_pool *pool = arg;
    intptr_t answered = 0;
    for (int i = 0; i < REQUESTS; i++) {
        rsl_ctx ctx = rsl_within(RSL_SEC(2));
        int result = ECONNRESET;
        for (int tries = 0; result == ECONNRESET && tries < 2 * SIZE; tries++)
            result = rsl_pool_use(pool, &ctx, ask, NULL);
        answered += result == 0;
    }
    return (void *)answered;
}

/* ---- the server: one thread, which ends with its listening socket ---- */

static void *serve(void *arg)
{
    struct pollfd peers[1 + SIZE] = {{.fd = *(int *)arg, .events = POLLIN}};
    int asked[1 + SIZE] = {0};
    for (int i = 1; i <= SIZE; i++) peers[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    while (poll(peers, 1 + SIZE, -1) > 0 && !(peers[0].revents & POLLHUP)) {
        for (int i = 1; i <= SIZE; i++) {
            char request;
            if (peers[i].fd < 0 || peers[i].revents == 0) continue;
            bool alive = recv(peers[i].fd, &request, 1, 0) == 1 &&
                         send(peers[i].fd, "!", 1, MSG_NOSIGNAL) == 1;
            if (alive && ++asked[i] < PATIENCE) continue;
            close(peers[i].fd);
            peers[i].fd = -1;
        }
        for (int i = 1; peers[0].revents != 0 && i <= SIZE; i++) {
            if (peers[i].fd >= 0) continue;
            peers[i].fd = accept(peers[0].fd, NULL, NULL);
            asked[i] = peers[0].revents = 0;
        }
    }
    for (int i = 1; i <= SIZE; i++) {
        if (peers[i].fd >= 0) close(peers[i].fd);
    }
    return NULL;
}

static bool listen_at(struct sockaddr_in *address, int *fd)
{
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    return *fd >= 0 && bind(*fd, (struct sockaddr *)address, length) == 0 &&
           listen(*fd, SIZE) == 0 && getsockname(*fd, (struct sockaddr *)address, &length) == 0;
}

int main(void)
{
    struct sockaddr_in address;
    int listener, count = 0;
    pthread_t server, threads[THREADS];
    if (!listen_at(&address, &listener) || pthread_create(&server, NULL, serve, &listener) != 0) {
        perror("pool");
        return 1;
    }
    rsl_pool *pool;
    rsl_pool_config config = {.create = dial, .destroy = hang_up, .user = &address,
                              .size_max = SIZE};
    if (rsl_pool_open(&pool, &config) != RSL_OK) {
        const char *why = rsl_pool_config_check(&config);
        fprintf(stderr, "pool: %s\n", why != NULL ? why : "no memory, or no thread");
        return 1;
    }
    while (count < THREADS && pthread_create(&threads[count], NULL, work, pool) == 0) count++;
    int answered = 0;
    for (int i = 0; i < count; i++) {
        void *mine;
        pthread_join(threads[i], &mine);
        answered += (int)(intptr_t)mine;
    }
    rsl_pool_stats s;
    rsl_pool_stats_get(pool, &s);
    printf("%d threads, %d requests, %d answered over %d connections, %d at a time at most\n",
           count, count * REQUESTS, answered, (int)s.created, SIZE);
    printf("%d connections were found dead and replaced; %d leases had to wait, %.1f us on "
           "average\n", (int)s.closed_broken, (int)s.waited,
           s.waited > 0 ? (double)s.wait_total / (double)s.waited / 1e3 : 0);
    rsl_ctx soon = rsl_within(RSL_SEC(5));
    bool proved = count == THREADS && answered == THREADS * REQUESTS && s.open <= SIZE &&
                  s.in_use == 0 && s.created - s.destroyed == s.open && s.closed_broken > 0 &&
                  rsl_pool_close(pool, &soon) == RSL_OK;
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    printf("everybody was served, nothing is left open: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
