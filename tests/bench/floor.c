/*
 * floor PORT: a server that shows the minimal cost of one thread per connection. For each 40 bytes
 * that it receives, about the size of a small HTTP/2 request, it sends 180 zero bytes, about the
 * size of its response. What another server with threads costs more than this is its own work.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_SIZE = 40, RESPONSE_SIZE = 180, STACK_SIZE = 64 * 1024 };

static void *serve(void *argument)
{
    static const char response[RESPONSE_SIZE];
    char request[REQUEST_SIZE];
    int fd = (int)(intptr_t)argument;

    while (recv(fd, request, sizeof(request), MSG_WAITALL) == REQUEST_SIZE &&
           send(fd, response, sizeof(response), MSG_NOSIGNAL) == RESPONSE_SIZE) {
    }
    close(fd);
    return NULL;
}

int main(int argc, char *argv[])
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0")),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int fd;
    pthread_attr_t attributes;
    pthread_t thread;

    if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, SOMAXCONN) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) != 0 ||
        pthread_attr_setstacksize(&attributes, STACK_SIZE) != 0)
        return perror("floor"), EXIT_FAILURE;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
            pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd) != 0)
            break;
    }
    return perror("floor"), EXIT_FAILURE;
}
