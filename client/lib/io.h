/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread of a client and what it alone may touch: calls under way, and lines, which are
 * connections to gatewayds, made or being made.
 *
 *	DIALING -> READY       the server has said who it is
 *	READY -> DRAINING      another line is used now; what is in flight here may still be answered
 *	any -> (gone)          it failed, or is not needed any more
 */
#ifndef QUORATE_LIB_IO_H
#define QUORATE_LIB_IO_H

#include "client/again.h"
#include "client/endpoints.h"
#include "client/hello.h"
#include "client/lib/core.h"
#include "client/lib/result.h"

enum {
	IO_LINES_DRAINING = 4,         /* more than that are closed */
	IO_FLIGHTS = 1024,             /* on one line: what a server takes at a time */
	IO_FLIGHTS_FEW = 64,           /* of watches, and for calls to one endpoint */
	IO_QUIET_MS = 1000,            /* silent for so long while it owes answers: is it still there? */
	IO_QUIET_WATCHES_MS = 5000,    /* the same when nothing is owed, but news may come */
	IO_READ_MS = 1000,             /* a read waits at least so long before another node is asked */
	IO_IDLE_MS = 5000,             /* a line for calls to one endpoint is kept so long */
	IO_PAUSE_MIN_MS = 20,          /* after an error of the server that may pass, doubling... */
	IO_PAUSE_MAX_MS = 1000
};

enum line_state { LINE_DIALING, LINE_READY, LINE_DRAINING };
enum line_use { LINE_CALLS, LINE_PINNED, LINE_WATCHES, LINE_CANDIDATE };

struct line {
	struct list node;
	struct io *io;
	enum line_state state;
	enum line_use use;
	struct client_endpoint at;     /* a copy: the list may change */
	struct client_conn *conn;
	struct client_hello hello;
	mono_t dial_until;
	mono_t heard;                  /* last, or when it began to owe an answer */
	bool proven;                   /* it has answered something */
	bool broken;                   /* it is being closed */
	bool pinging;
	mono_t pinged;
	struct client_flight ping;
	struct client_flight status;   /* leader.c's: who leads? */
	bool status_asked, status_known, leads;
	uint64_t leader;
};

struct io {
	struct core *core;
	struct client_endpoints endpoints;
	struct list waiting;           /* calls to be sent, by item.node as all these */
	struct list resting;           /* to be sent again, later */
	struct list flying;
	struct list ended;             /* to be handed out */
	struct shot *spare;            /* flight.c: tries that have ended, for the next ones... */
	unsigned n_spare;              /* ...so many, at most IO_FLIGHTS */
	struct list lines;
	struct line *main;             /* where calls are sent; NULL: none, not even being made */
	struct line *candidate;        /* that may take its place: leader.c */
	mono_t leader_next;
	mono_t now, due;               /* due: there is nothing to do before, unless something comes */
	struct quorate_error why;      /* the last reason that an endpoint could not be reached */
	struct names *names;           /* a look-up that is under way */
	mono_t names_again;            /* not before */
	bool has_names;
	struct wset *watches;          /* watch_io.c */
	struct list sessions;          /* session_io.c */
};

int io_make(struct core *c, struct quorate_error *e);
void io_free(struct io **io);
void *io_run(void *core);
/* The next to try, for whatever use; NULL: there is none just now. Names are looked up where that may help. */
struct client_endpoint *io_endpoint(struct io *io);
static inline void io_due(struct io *io, mono_t t)
{
	io->due = mono_min(io->due, t);
}

/* ---- line.c ---- */

/* Begins to connect; NULL: it failed at once, and the endpoint rests. */
struct line *line_open(struct io *io, const struct client_endpoint *at, enum line_use use);
void line_close(struct line *l, const char *why);    /* why: it failed; NULL: not needed any more */
/* Reads and writes. False: it has failed and is gone. */
bool line_turn(struct line *l);
/* What time brings. False: it is gone. */
bool line_timer(struct line *l);
/* Another is to be used; this one may answer what it owes. `failed`: its endpoint rests. */
void line_leave(struct line *l, bool failed);

/* It has answered: its endpoint is as good as any. */
void line_proven(struct line *l);

/* ---- flight.c: calls in flight ---- */

bool flight_send(struct line *l, struct call *c);    /* false: not now, there is no room */
void flight_forget(struct call *c);                  /* its answer will not be looked at */
/* A read need not wait for one silent node while there are others to ask: from then on. */
mono_t flight_patience(const struct io *io, const struct call *c);
void flight_move(struct io *io, struct call *c);     /* the same, and another node is to be asked */
/* Ends the call, with an error if the code is one. `text` NULL: that of the code. */
void flight_end(struct io *io, struct call *c, int code, enum err_again again, const char *text,
		const char *endpoint);
void flight_free_spare(struct io *io);
/* It has not ended in time, or is cancelled. */
void flight_expire(struct io *io, struct call *c);
void flight_cancel(struct io *io, struct call *c);

/* ---- leader.c ---- */

void leader_turn(struct io *io);
void leader_line_gone(struct io *io, struct line *l);

/* ---- names.c: a thread that looks up names ---- */

struct names;
/* NULL: it cannot be done now. When it is done wake_fd is written to. */
struct names *names_begin(const char *list, int wake_fd);
/* True when it is done: *out is what was found. Then it is gone, as after names_abandon(). */
bool names_done(struct names **n, struct client_endpoints *out, char *why, size_t len);
void names_abandon(struct names **n);

#endif
