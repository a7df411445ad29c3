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
    PAST_RESETS = 32, /* streams that late frames may still come for */
    PAST_CLOSED = 8,  /* streams whose end is told from ids that went back */
};

struct past {
    int32_t highest;             /* id of a stream that was opened */
    int32_t refused_from;        /* the first one that was refused; INT32_MAX = none was */
    int32_t resets[PAST_RESETS]; /* those that we reset last */
    int32_t forgotten;           /* the highest id that had to make room there */
    int32_t closed[PAST_CLOSED]; /* those that ended last, however they did */
    uint32_t reset_at;
    uint32_t closed_at;
};

/*
 * past_start(past):
 * Begin with no stream.
 */
void past_start(struct past *past);

/*
 * past_open(past, id):
 * HEADERS came on stream ${id}. Return true if that opens it: ids only go up (RFC 9113 section
 * 5.1.1).
 */
bool past_open(struct past *past, int32_t id);

/*
 * past_refuse(past, id):
 * Stream ${id} is refused unseen; those behind it may have to be, too.
 */
void past_refuse(struct past *past, int32_t id);

/*
 * past_reset(past, id):
 * We have reset stream ${id}.
 */
void past_reset(struct past *past, int32_t id);

/*
 * past_close(past, id):
 * Stream ${id} is over.
 */
void past_close(struct past *past, int32_t id);

/*
 * past_is_late(past, id):
 * Return true if HEADERS or DATA may have been sent on stream ${id} before the client knew of its
 * end: we have reset or refused it, or may have and have forgotten it.
 */
bool past_is_late(const struct past *past, int32_t id);

/*
 * past_was_closed(past, id):
 * Return true if ${id} is one of the streams that ended last.
 */
bool past_was_closed(const struct past *past, int32_t id);

#endif
