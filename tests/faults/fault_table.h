/*
 * fault_table: the faults that a connection meets, what must become of it, and the scene: a daemon
 * and another client, which must not notice anything.
 */
#ifndef H2ECHOD_TESTS_FAULT_TABLE_H
#define H2ECHOD_TESTS_FAULT_TABLE_H

#include "faults/conversation.h"
#include "faults/daemon.h"
#include "faults/faults.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_outcome {
    OUTCOME_SAME,      /* the client receives the same as without the fault */
    OUTCOME_LOST,      /* the connection ends, as if the network had failed */
    OUTCOME_NO_MEMORY, /* the connection ends, or a stream is reset, for lack of memory */
};

struct fault_row {
    struct fault fault;
    enum fault_outcome outcome;
};

struct fault_table {
    const struct fault_row *rows;
    size_t count;
};

extern const struct fault_table fault_interruptions;
extern const struct fault_table fault_short_transfers;
extern const struct fault_table fault_failures;
extern const struct fault_table fault_allocations;

extern const struct fault fault_none;

/* Return true if the daemon logged that memory ran out, or a TLS error that this may have caused:
 * OpenSSL does not always say so. */
bool fault_is_shortage_logged(void);

/* Fail unless the outcome is that of the row. */
void fault_check_outcome(const struct fault_row *row, const struct client *client,
                         const struct client *expected);

/* A daemon and a client without faults, the neighbour. Static, since the daemon's thread may still
 * use it after a test has failed. */
struct scene {
    struct daemon daemon;
    struct client *neighbour;
    int32_t neighbour_stream; /* of its last request */
};

/* Settings with small limits and timeouts that do not pass. */
struct settings *scene_settings(void);

/* Connect the neighbour and let it send its first request. */
void scene_open_neighbour(struct scene *scene);

void scene_close_neighbour(struct scene *scene);

#endif
