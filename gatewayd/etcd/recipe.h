/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What etcd's Lock and Election services are made of: transactions, ranges, watches and a lease, asked
 * of gatewayd's own services one after the other, each with the function that goes on when it is
 * answered. An error of any of them ends the RPC.
 *
 * Who wants something puts a key under a prefix, attached to a lease; whose key was created first has
 * it; the others watch the one before them (docs/etcd-protocol.md).
 */
#ifndef QUORATE_RECIPE_H
#define QUORATE_RECIPE_H

#include "gatewayd/etcd/grpc.h"
#include "gatewayd/watch.h"

enum { RECIPE_NAME_BYTES = 1024 };            /* of a lock or an election */

struct recipe {
	struct grpc_stream *s;
	struct buf prefix, key, value;        /* the name and '/'; that and the lease */
	struct buf name;
	int64_t lease;
	int64_t rev;                          /* that created the key */
	int64_t at;                           /* Campaign: of the transaction that queued it */
	bool queued;                          /* the key stands in the queue: it goes if the caller does */
	int failed;                           /* its error, told when the key has gone; ERR_OK: none */
	struct buf ask;                       /* the bytes of what is being asked */
	struct gate_watch *watch;             /* NULL: none */
	uint64_t n_watches;                   /* that have begun: the next one may lie where the last one lay */
	struct loop_timer timer;              /* keeps a lease of its own alive */
	void (*leased)(struct recipe *r);
	void (*done)(struct recipe *r, const struct kv_header *h);    /* its turn has come */
	void (*txn)(struct recipe *r, const struct kv_txn_result *t);
	void (*range)(struct recipe *r, const struct kv_range_result *t);
	/* NULL: the watch has ended since it was compacted */
	void (*event)(struct recipe *r, const struct watch_event *e);
};

/*
 * Ends the RPC. In etcd these services are clients of the others, and the code of an error is lost on the way: it is
 * Unknown; its text is not lost.
 */
void recipe_error(struct grpc_stream *s, int err);

/* It lives as long as the stream. */
struct recipe *recipe_new(struct grpc_stream *s, struct bytes name);
/* With this lease, or one of its own; and the key that it makes. */
void recipe_lease(struct recipe *r, int64_t lease, void (*leased)(struct recipe *r));

void recipe_txn(struct recipe *r, struct kv_txn *txn, void (*next)(struct recipe *, const struct kv_txn_result *));
/* range->key and range_end may lie anywhere. */
void recipe_range(struct recipe *r, const struct kv_range *range,
		  void (*next)(struct recipe *, const struct kv_range_result *));
void recipe_watch(struct recipe *r, struct bytes key, struct bytes range_end, int64_t from,
		  void (*event)(struct recipe *, const struct watch_event *));
void recipe_unwatch(struct recipe *r);

/* The range of all keys under the prefix, whose end is put into `end` (as long as the prefix). */
struct kv_range recipe_under(const struct recipe *r, uint8_t *end);
/* Waits until no key under the prefix is older than its own. */
void recipe_wait(struct recipe *r, void (*done)(struct recipe *r, const struct kv_header *h));

/* Its value is counted with what the connection's requests hold. False: too much, and it has ended. */
bool recipe_keep_value(struct recipe *r, struct bytes value);
void recipe_drop_value(struct recipe *r);

/* {create_revision(key) == rev} */
struct kv_compare recipe_if(struct bytes key, int64_t rev);

#endif
