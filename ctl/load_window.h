/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window of puts in flight: sends them over the client's connection, takes the answers, and puts
 * again what failed and may be put again. Two puts of one key are never in flight together, so the
 * order of a key's values is that of the input whatever had to be repeated.
 */
#ifndef QUORATE_CTL_LOAD_WINDOW_H
#define QUORATE_CTL_LOAD_WINDOW_H

#include <stdbool.h>
#include <stdio.h>

#include "client/client.h"

struct load_slot {
	struct client_flight flight;
	struct buf key, value;
	struct load_window *window;
	struct load_slot *next;       /* in the list of free ones or of those to be put again */
	struct load_slot *chain;      /* with the same hash, of those not yet acknowledged */
	uint32_t hash;
};

struct load_window {
	struct client *client;
	bool retry_unsure;            /* putting again what may have been put is fine */
	int64_t answer_timeout_ms;    /* a connection silent for so long is given up */
	FILE *acked;                  /* gets a line per acknowledged key; or NULL */

	struct load_slot *slots, *free, *redo, **redo_end, **chains;
	uint32_t n_slots, n_chains;
	struct load_slot *held;       /* read, but its key is in flight */

	uint64_t count, bytes, repeats;   /* acknowledged; put again */
	uint64_t unsure;                  /* ended without an answer and were not put again */
	int64_t revision;                 /* the greatest of all answers */
	uint32_t busy;                    /* slots in flight or to be put again */
	mono_t heard, progressed;         /* the last answer; the last good one */
	mono_t pause;                     /* nothing is sent before */
	int64_t pause_ms;
	struct client_error failed;       /* the first error that ends the load */
};

/* ERR_OK or ERR_NO_MEMORY */
int load_window_init(struct load_window *w, struct client *c, uint32_t n);
void load_window_free(struct load_window *w);

/* An empty slot to read the next pair into, or NULL: all are busy or one is held. */
struct load_slot *load_window_slot(struct load_window *w);
/* The slot has a pair; it is sent by load_window_pump(). */
void load_window_add(struct load_window *w, struct load_slot *slot);

/*
 * Connects if need be and sends what is due. Until `deadline` for a connection; an error that ends
 * the load is in w->failed. *conn is NULL if there is none.
 */
void load_window_pump(struct load_window *w, mono_t deadline, struct client_conn **conn);
/* After waiting: takes the answers, and gives up a connection that has been silent too long. */
void load_window_turn(struct load_window *w, struct client_conn *conn);

#endif
