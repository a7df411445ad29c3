/*
 * connection: serves one connection from accept to close, on one thread.
 *
 *     negotiate --> session, turn by turn --> close
 */
#ifndef H2ECHOD_CONN_CONNECTION_H
#define H2ECHOD_CONN_CONNECTION_H

#include "conn/conn_io.h"

/*
 * connection_serve(connection, workspace):
 * Serve ${connection} until it ends: the client closes it, an error, a timeout, or the daemon's
 * shutdown. Its socket is closed and its reference to the settings released. The reason is logged.
 */
void connection_serve(struct connection *connection, struct connection_workspace *workspace);

#endif
