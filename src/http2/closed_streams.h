/*
 * past: what is remembered of a client's streams that are over.
 *
 * Frames for such a stream are an error of the client's (RFC 9113 section 5.1), unless they were
 * under way when it ended: then they are read past. Which of the two it is, their ids tell, as far
 * as they are remembered. Pure.
 */
#ifndef H2ECHOD_HTTP2_CLOSED_STREAMS_H
#define H2ECHOD_HTTP2_CLOSED_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CLOSED_STREAMS_RESETS = 32, /* streams that late frames may still come for */
    CLOSED_STREAMS_CLOSED = 8,  /* streams whose end is told from ids that went back */
};

struct closed_streams {
    int32_t highest;      /* id of a stream that was opened */
    int32_t refused_from; /* the first one that was refused; INT32_MAX = none was */
    int32_t resets[CLOSED_STREAMS_RESETS]; /* those that we reset last */
    int32_t forgotten;                     /* the highest id that had to make room there */
    int32_t closed[CLOSED_STREAMS_CLOSED]; /* those that ended last, however they did */
    uint32_t reset_at;
    uint32_t closed_at;
};

/*
 * closed_streams_init(closed):
 * Begin with no stream.
 */
void closed_streams_init(struct closed_streams *closed);

/*
 * closed_streams_open(closed, id):
 * HEADERS came on stream ${id}. Return true if that opens it: ids only go up (RFC 9113 section
 * 5.1.1).
 */
bool closed_streams_open(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_refused(closed, id):
 * Stream ${id} is refused unseen; those behind it may have to be, too.
 */
void closed_streams_note_refused(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_reset(closed, id):
 * We have reset stream ${id}.
 */
void closed_streams_note_reset(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_note_closed(closed, id):
 * Stream ${id} is over.
 */
void closed_streams_note_closed(struct closed_streams *closed, int32_t id);

/*
 * closed_streams_is_late(closed, id):
 * Return true if HEADERS or DATA may have been sent on stream ${id} before the client knew of its
 * end: we have reset or refused it, or may have and have forgotten it.
 */
bool closed_streams_is_late(const struct closed_streams *closed, int32_t id);

/*
 * closed_streams_was_closed(closed, id):
 * Return true if ${id} is one of the streams that ended last.
 */
bool closed_streams_was_closed(const struct closed_streams *closed, int32_t id);

#endif
