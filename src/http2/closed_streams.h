/*
 * closed_streams: what is remembered of a client's streams after they are closed.
 *
 * A frame on a closed stream is an error (RFC 9113 section 5.1), unless the client may have sent it
 * before it learnt that the stream was closed: then it is ignored. Which of the two applies is
 * found by the ids of streams that we closed, as far as they are remembered. Pure.
 */
#ifndef H2ECHOD_HTTP2_CLOSED_STREAMS_H
#define H2ECHOD_HTTP2_CLOSED_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CLOSED_STREAMS_RESETS = 32, /* streams reset by us that are remembered */
    CLOSED_STREAMS_CLOSED = 8,  /* streams, however they were closed, that are remembered */
};

struct closed_streams {
    int32_t highest;      /* id of any stream that was opened */
    int32_t refused_from; /* the lowest id of a refused stream; INT32_MAX = none was refused */
    int32_t resets[CLOSED_STREAMS_RESETS]; /* the last ids that were reset by us */
    int32_t forgotten;                     /* the highest id that is no longer in there */
    int32_t closed[CLOSED_STREAMS_CLOSED]; /* the last ids that were closed */
    uint32_t reset_at;                     /* where the next one goes, before the modulus */
    uint32_t closed_at;
};

/*
 * closed_streams_init(closed):
 * Start without any stream.
 */
void closed_streams_init(struct closed_streams *closed);

/*
 * closed_streams_open(closed, id):
 * HEADERS arrived on stream ${id}. Return true if that opens a stream: its id is higher than that
 * of every stream before it (RFC 9113 section 5.1.1).
 */
bool closed_streams_open(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_refused(closed, id):
 * Stream ${id} was refused without being processed. Later ones that the client has sent already may
 * be refused as well.
 */
void closed_streams_note_refused(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_reset(closed, id):
 * We have reset stream ${id}.
 */
void closed_streams_note_reset(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_closed(closed, id):
 * Stream ${id} is closed, for whatever reason.
 */
void closed_streams_note_closed(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_is_late(closed, id):
 * Return true if the client may have sent HEADERS or DATA on stream ${id} before it learnt that the
 * stream was closed: because we have reset or refused it, or may have done so and do not remember.
 */
bool closed_streams_is_late(const struct closed_streams *closed, int32_t id);

/*
 * closed_streams_was_closed(closed, id):
 * Return true if ${id} is one of the streams that were closed last.
 */
bool closed_streams_was_closed(const struct closed_streams *closed, int32_t id);

#endif
