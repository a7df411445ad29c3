/*
 * connection: the io of one connection, from its first byte to its close, on one thread.
 *
 *     opening ──> session ──> end
 */
#ifndef H2ECHOD_CONN_CONNECTION_H
#define H2ECHOD_CONN_CONNECTION_H

#include "conn/conn_io.h"

/*
 * connection_serve(connection, workspace):
 * Serve until the connection is over, for whatever reason: the peer's wish, an error, a timeout of
 * its settings, or the daemon's stage. Everything worth telling is logged.
 */
void connection_serve(struct connection *connection, struct connection_workspace *workspace);

#endif
