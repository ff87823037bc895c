/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libquorate: a client of a Quorate cluster, in C. This header is its manual.
 *
 *	#include <quorate.h>                  cc prog.c $(pkg-config --cflags --libs quorate)
 *
 *	struct quorate_options o = QUORATE_OPTIONS_INIT;
 *	struct quorate_error e;
 *	struct quorate *q;
 *
 *	o.endpoints = "10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379";
 *	if (quorate_open(&o, &q, &e) != QUORATE_OK || quorate_put(q, "colour", "blue", &e) != QUORATE_OK)
 *		errx(1, "%s: %s", e.endpoint, e.text);
 *	quorate_close(q);
 *
 * CAVEATS
 *
 * - A write whose answer was lost may have been done, and may still be done later. Such an error has
 *   `again` UNSURE: only you know whether to repeat. The library repeats by itself what is safe,
 *   and nothing else. A timeout of a write is of this kind.
 * - A lock or a session that this process believes it holds may already be lost: a process can be
 *   stopped at any instant for any time. Guard what a lock protects by compares in the same
 *   transaction, or by passing the lock's revision on to whoever does the work.
 * - Two calls in flight at the same time are concurrent, whatever thread made them first. Who needs
 *   an order waits for the first answer, or uses a transaction.
 * - After fork() the child must not use what the parent opened, except that every call refuses with
 *   BAD_ARGUMENT and every close only forgets. Open a client of its own there. (exec is harmless.)
 * - A client has a thread of its own, with all signals blocked, and descriptors, all close-on-exec.
 *   The library installs no signal handler, never calls exit, prints nothing and reads neither the
 *   environment nor files, but for what the system's resolver reads. It cannot be unloaded (dlclose).
 * - Memory that runs out is an error of the call, never an abort. A bug that the library finds in
 *   itself is an abort.
 * - There is no TLS yet and no authentication: whoever can reach the port can read and write.
 *
 * WHAT MAY BE CALLED FROM WHERE
 *
 * Every function here may be called from any thread at any time, also on the same object, but for
 * two: closing (and freeing) an object is for one thread, once, when no other uses it any more or
 * will. No function may be called from a signal handler. Callbacks run inside quorate_dispatch(),
 * in the thread that called it, with no lock held: they may call anything, but not close
 * the queue that they were called from. A watch or session whose news comes through a queue is
 * closed by the thread that dispatches that queue, in a callback or not.
 *
 * TIME
 *
 * `timeout_ms` of a call: milliseconds on the monotonic clock until it gives up; 0 means the
 * client's default, QUORATE_FOREVER no end. Of what only waits for something to have come
 * (quorate_watch_next, quorate_dispatch, quorate_session_wait), 0 means: do not wait.
 *
 * GROWTH
 *
 * Structs of options begin with their size, which their INIT macro sets, so that they may grow.
 * `reserved` is 0 (the constructors see to it). Structs that the library hands out may grow at
 * their end: use them where they are. Enums may grow: have a default case.
 */
#ifndef QUORATE_H
#define QUORATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define QUORATE_FOREVER (-1)

/* ---- bytes -------------------------------------------------------------------------------- */

/* Keys and values are any bytes. What you pass is copied before the call returns. */
struct quorate_bytes {
	const void *data;              /* may be NULL if size is 0 */
	size_t size;
};

static inline struct quorate_bytes quorate_bytes(const void *data, size_t size)
{
	struct quorate_bytes b;

	b.data = data;
	b.size = size;
	return b;
}

/* Of a C string, without its NUL. NULL: empty. */
static inline struct quorate_bytes quorate_str(const char *s)
{
	return quorate_bytes(s, s == NULL ? 0 : strlen(s));
}

/* ---- errors ------------------------------------------------------------------------------- */

/*
 * Functions return QUORATE_OK or one of these. Numbers are the protocol's (docs/native-protocol.md,
 * section 4); a newer server may send others: go by `again`.
 */
enum quorate_code {
	QUORATE_OK = 0,
	QUORATE_ERR_KEY_EMPTY = 1, QUORATE_ERR_KEY_NOT_FOUND = 2, QUORATE_ERR_VALUE_PROVIDED = 3,
	QUORATE_ERR_LEASE_PROVIDED = 4, QUORATE_ERR_TOO_MANY_OPS = 5, QUORATE_ERR_DUPLICATE_KEY = 6,
	QUORATE_ERR_SORT_OPTION = 7, QUORATE_ERR_REQUEST_TOO_LARGE = 8, QUORATE_ERR_COMPACTED = 9,
	QUORATE_ERR_FUTURE_REV = 10, QUORATE_ERR_LEASE_NOT_FOUND = 11, QUORATE_ERR_LEASE_EXISTS = 12,
	QUORATE_ERR_LEASE_TTL = 13, QUORATE_ERR_BAD_ARGUMENT = 14, QUORATE_ERR_SORT_TOO_LARGE = 15,
	QUORATE_ERR_TXN_TOO_DEEP = 16, QUORATE_ERR_RESPONSE_TOO_LARGE = 17,
	QUORATE_ERR_TXN_TOO_LARGE = 18, QUORATE_ERR_LEASE_KEYS = 19, QUORATE_ERR_TOO_MANY_LEASES = 20,
	QUORATE_ERR_WATCH_RANGE = 24, QUORATE_ERR_WATCH_NOT_FOUND = 26, QUORATE_ERR_TOO_MANY_WATCHES = 27,
	QUORATE_ERR_NO_LEADER = 30, QUORATE_ERR_LEADER_CHANGED = 31, QUORATE_ERR_TIMEOUT = 32,
	QUORATE_ERR_STOPPED = 33, QUORATE_ERR_TOO_MANY_REQUESTS = 34, QUORATE_ERR_NO_SPACE = 35,
	QUORATE_ERR_CORRUPT = 36, QUORATE_ERR_RESULT_LOST = 37, QUORATE_ERR_OUTCOME_UNKNOWN = 38,
	QUORATE_ERR_STORE_DOWN = 39, QUORATE_ERR_BAD_TARGET = 40, QUORATE_ERR_NOT_LEADER = 41,
	QUORATE_ERR_MALFORMED = 60,    /* what came was not our protocol, or no answer to what was asked */
	QUORATE_ERR_LIMIT = 63, QUORATE_ERR_UNKNOWN_METHOD = 64, QUORATE_ERR_UNIMPLEMENTED = 65,
	QUORATE_ERR_IO = 80, QUORATE_ERR_NO_MEMORY = 81,
	QUORATE_ERR_FULL = 82,         /* a limit of quorate_options: again after some have ended */
	QUORATE_ERR_CLOSED = 83,       /* no endpoint can be reached, or the connection broke */
	QUORATE_ERR_NOT_FOUND = 85, QUORATE_ERR_INTERNAL = 87,
	QUORATE_ERR_CANCELED = 88,     /* by quorate_cancel(), quorate_cancel_all() or a close */
	QUORATE_ERR_LOST = 89,         /* a session, or what was held by it, is gone */
	QUORATE_ERR_HELD = 90,         /* somebody else has the lock, or holds the barrier */
	QUORATE_ERR_CONFLICT = 92      /* others have changed what a transaction read, each time */
};

enum quorate_again {
	QUORATE_AGAIN_NO = 0,          /* the same request would give the same error */
	QUORATE_AGAIN_SAFE = 1,        /* nothing was done: the same request may be made again */
	QUORATE_AGAIN_UNSURE = 2       /* it may have been done, or may still be done */
};

/* Filled in whenever a function fails, cleared when it succeeds (of a call, endpoint then says who
 * answered). May be NULL everywhere. */
struct quorate_error {
	int code;                      /* what the function returned */
	enum quorate_again again;
	char text[512];                /* a sentence for people, of the server if it said one */
	char endpoint[272];            /* who said so; empty: this library */
};

/* Never NULL: "ok", "mvcc: required revision has been compacted". */
const char *quorate_error_text(int code);

/* ---- a client ----------------------------------------------------------------------------- */

struct quorate;                        /* a client of a cluster, or a view of one */

struct quorate_options {
	size_t size;                   /* set by QUORATE_OPTIONS_INIT */
	/*
	 * "HOST[:PORT],...": names, IPv4 addresses, [IPv6 addresses]; the port is 2379 unless given,
	 * "http://" may stand before. NULL: 127.0.0.1:2379. Names are looked up by a thread that
	 * nobody waits for, and again when nothing can be reached: an endpoint that has never
	 * resolved is one that cannot be reached.
	 */
	const char *endpoints;
	int64_t timeout_ms;            /* of calls that say 0; 0: 10,000 */
	unsigned dial_timeout_ms;      /* of one attempt to reach an endpoint; 0: 1,000 */
	unsigned flags;                /* enum quorate_option_flag */
	/*
	 * Calls that wait or are under way at a time, at most 65,536; 0: 4,096. And the bytes of
	 * their requests; 0: 16 MiB. Beyond that quorate_call() waits and quorate_submit()
	 * says FULL.
	 */
	unsigned max_calls;
	size_t max_bytes;
	size_t max_result_bytes;       /* of one call's result; 0: 64 MiB; beyond it RESPONSE_TOO_LARGE */
};
#define QUORATE_OPTIONS_INIT {.size = sizeof(struct quorate_options)}

enum quorate_option_flag {
	/*
	 * Without this, a client of several endpoints finds out who leads and moves to the leader's
	 * node when it can: writes, linearizable reads and keepalives are a hop shorter there. With it,
	 * it stays where it is while that works, so that many clients spread over the nodes.
	 */
	QUORATE_ANY_NODE = 1 << 0,
	QUORATE_IN_ORDER = 1 << 1      /* begin with the first endpoint, not with one drawn by lot */
};

/*
 * Does not wait for anything, so a cluster that cannot be reached is found out by the first call.
 * BAD_ARGUMENT, NO_MEMORY, IO (no thread, no descriptor). o may be NULL.
 */
int quorate_open(const struct quorate_options *o, struct quorate **q, struct quorate_error *e);
/*
 * Ends what was begun through it, as quorate_cancel_all() does. Views, queues, watches and sessions
 * that were made from it are still there, and are closed by themselves, in any order.
 */
void quorate_close(struct quorate *q);

/*
 * A view of the same client that sees only the keys that begin with `prefix`, without it: keys,
 * range ends and compares are prefixed, and keys of results and events come without. "All keys from
 * here on" ends at the end of the prefix. Costs little. Views of views add their prefixes; an empty
 * prefix gives a second handle. A view is closed by quorate_close().
 */
int quorate_namespace(struct quorate *q, struct quorate_bytes prefix, struct quorate **view,
		      struct quorate_error *e);

/*
 * Ends everything that was begun through this handle and has not ended: calls, also those that
 * other threads wait for, watches, sessions (their leases run out); and everything begun through it
 * later, with CANCELED. It cannot be taken back. Other views of the client are not touched: give what should be
 * cancelled together a view of its own.
 */
void quorate_cancel_all(struct quorate *q);

const char *quorate_version(void);     /* of the library, as "0.1.0" */

/* ---- what can be asked -------------------------------------------------------------------- */

/* One struct says what is to be done, alone or as a part of a transaction: use the constructors. */
enum quorate_kind {
	/* alone or in a transaction */
	QUORATE_GET = 1, QUORATE_PUT, QUORATE_DELETE, QUORATE_TXN,
	/* alone only */
	QUORATE_COMPACT, QUORATE_LEASE_GRANT, QUORATE_LEASE_REVOKE, QUORATE_LEASE_KEEPALIVE,
	QUORATE_LEASE_TIME_TO_LIVE, QUORATE_LEASE_LIST, QUORATE_STATUS, QUORATE_MEMBERS, QUORATE_HASH,
	QUORATE_MOVE_LEADER, QUORATE_SERVER_VERSION
};

enum quorate_flag {
	QUORATE_PREFIX = 1 << 0,       /* all keys that begin with `key`, which may be empty */
	QUORATE_FROM_KEY = 1 << 1,     /* all keys from `key` on; empty: all keys */
	QUORATE_PREV_KV = 1 << 2,      /* PUT, DELETE, watches: with the pair before the change */
	QUORATE_IGNORE_VALUE = 1 << 3, /* PUT: keep the value, set the lease */
	QUORATE_IGNORE_LEASE = 1 << 4, /* PUT: keep the lease, set the value */
	QUORATE_SERIALIZABLE = 1 << 5, /* GET: from the node asked, however far behind it is */
	QUORATE_KEYS_ONLY = 1 << 6,    /* GET: without the values */
	QUORATE_COUNT_ONLY = 1 << 7,   /* GET: only the count */
	QUORATE_PHYSICAL = 1 << 8,     /* COMPACT: answer when the space has been given back */
	QUORATE_LEASE_KEYS = 1 << 9,   /* LEASE_TIME_TO_LIVE: with the keys attached, those of the view */
	/* A write that may be done twice, the second time at any later time (one with a compare that holds
	 * only once): repeat it also when unsure. */
	QUORATE_IDEMPOTENT = 1 << 10,
	QUORATE_NO_PUT = 1 << 11,      /* watches: leave puts out */
	QUORATE_NO_DELETE = 1 << 12,   /* watches: leave deletes out */
	QUORATE_PROGRESS = 1 << 13     /* watches: say now and then how far it has got */
};

enum quorate_order { QUORATE_ORDER_NONE, QUORATE_ASCEND, QUORATE_DESCEND };
enum quorate_sort {
	QUORATE_SORT_KEY, QUORATE_SORT_VERSION, QUORATE_SORT_CREATE, QUORATE_SORT_MOD, QUORATE_SORT_VALUE
};

struct quorate_txn;

struct quorate_op {
	enum quorate_kind kind;
	unsigned flags;                /* enum quorate_flag */
	struct quorate_bytes key;      /* not empty but with PREFIX or FROM_KEY; LEASE_KEYS: keys behind it */
	/* GET, DELETE: if not empty, all keys k with key <= k < range_end; one zero byte: FROM_KEY. */
	struct quorate_bytes range_end;
	struct quorate_bytes value;    /* PUT */
	int64_t lease;                 /* PUT: attach to it; LEASE_...: which; LIST: those behind it */
	int64_t ttl;                   /* LEASE_GRANT: seconds */
	int64_t revision;              /* GET, HASH: as of it, 0: now. COMPACT: history before it goes */
	int64_t limit;                 /* GET, LEASE_LIST: at most so many; 0: all */
	enum quorate_order order;      /* GET */
	enum quorate_sort sort;
	int64_t min_mod_revision, max_mod_revision;         /* GET: others are left out; 0: no bound */
	int64_t min_create_revision, max_create_revision;
	const struct quorate_txn *txn; /* TXN */
	uint64_t target;               /* MOVE_LEADER: member id; 0: the most advanced follower */
	const char *endpoint;          /* ask this one of the endpoints, as it was given; NULL: any */
	uint64_t reserved[4];
};

enum quorate_target {
	QUORATE_TARGET_VERSION, QUORATE_TARGET_CREATE, QUORATE_TARGET_MOD, QUORATE_TARGET_VALUE,
	QUORATE_TARGET_LEASE
};
enum quorate_relation { QUORATE_EQUAL, QUORATE_GREATER, QUORATE_LESS, QUORATE_NOT_EQUAL };

/* Holds if `target` of the key RELATION what is given. A missing key has 0 everywhere; no value of
 * it compares true. With range_end or a flag it must hold for every key of the range. */
struct quorate_compare {
	struct quorate_bytes key, range_end;
	unsigned flags;                /* QUORATE_PREFIX, QUORATE_FROM_KEY */
	enum quorate_target target;
	enum quorate_relation relation;
	int64_t number;                /* to compare with, unless the target is the value */
	struct quorate_bytes value;
	uint64_t reserved[2];
};

/* If all compares hold do `then`, else do `or_else`: as one, with one revision. */
struct quorate_txn {
	const struct quorate_compare *compares;
	size_t n_compares;
	const struct quorate_op *then;
	size_t n_then;
	const struct quorate_op *or_else;
	size_t n_or_else;
};

static inline struct quorate_op quorate_op(enum quorate_kind kind)
{
	struct quorate_op op;

	memset(&op, 0, sizeof op);
	op.kind = kind;
	return op;
}

static inline struct quorate_op quorate_op_get(struct quorate_bytes key)
{
	struct quorate_op op = quorate_op(QUORATE_GET);

	op.key = key;
	return op;
}

static inline struct quorate_op quorate_op_put(struct quorate_bytes key, struct quorate_bytes value,
					       int64_t lease)
{
	struct quorate_op op = quorate_op(QUORATE_PUT);

	op.key = key;
	op.value = value;
	op.lease = lease;
	return op;
}

static inline struct quorate_op quorate_op_delete(struct quorate_bytes key)
{
	struct quorate_op op = quorate_op(QUORATE_DELETE);

	op.key = key;
	return op;
}

static inline struct quorate_op quorate_op_txn(const struct quorate_txn *txn)
{
	struct quorate_op op = quorate_op(QUORATE_TXN);

	op.txn = txn;
	return op;
}

static inline struct quorate_compare quorate_if(struct quorate_bytes key, enum quorate_target target,
						enum quorate_relation relation, int64_t number)
{
	struct quorate_compare c;

	memset(&c, 0, sizeof c);
	c.key = key;
	c.target = target;
	c.relation = relation;
	c.number = number;
	return c;
}

static inline struct quorate_compare quorate_if_value(struct quorate_bytes key,
						      enum quorate_relation relation,
						      struct quorate_bytes value)
{
	struct quorate_compare c = quorate_if(key, QUORATE_TARGET_VALUE, relation, 0);

	c.value = value;
	return c;
}

static inline struct quorate_compare quorate_if_missing(struct quorate_bytes key)
{
	return quorate_if(key, QUORATE_TARGET_CREATE, QUORATE_EQUAL, 0);
}

/* ---- what comes back ---------------------------------------------------------------------- */

struct quorate_header {
	uint64_t cluster_id;
	uint64_t member_id;            /* the node that answered */
	int64_t revision;              /* the store's when it answered */
	uint64_t raft_term;
};

struct quorate_kv {                    /* never grows */
	struct quorate_bytes key, value;
	int64_t create_revision, mod_revision;   /* of the creation, of the last change */
	int64_t version;               /* changes since the creation; 1: a new key */
	int64_t lease;                 /* that it is attached to, or 0 */
};

struct quorate_daemon {                /* never grows */
	const char *name, *state;      /* "raftd"; "up" or "down" */
	int64_t age_ms;                /* -1: down */
};

/* Of one node; 0 or "" is what a daemon that is down would have said. */
struct quorate_status {
	const char *name, *version;
	const char *role;              /* leader, follower, candidate, pre-candidate, unknown */
	uint64_t leader;               /* its member id, or 0 */
	uint64_t commit, applied, last;   /* of the raft log */
	int64_t compact_revision;      /* -1: never compacted */
	uint64_t store_bytes, used_bytes, log_bytes, keys;
	struct quorate_bytes apply_hash;
	const struct quorate_daemon *daemons;
	size_t n_daemons;
};

struct quorate_member {                /* never grows */
	uint64_t id;
	const char *name, *peer_addr, *client_addr;
};

/* All in one piece of memory, which quorate_result_free() gives back. */
struct quorate_result {
	enum quorate_kind kind;        /* of the op that it answers */
	bool succeeded;                /* TXN: the compares held */
	bool more;                     /* GET, LEASE_...: the limit cut the answer; of keys, not only the view's */
	struct quorate_header header;  /* inside a TXN only its revision is set */
	int64_t count;                 /* GET: live keys of the range, DELETE: deleted ones */
	const struct quorate_kv *kvs;  /* GET: the pairs; PREV_KV: those before; LEASE_KEYS: only keys */
	size_t n_kvs;
	const struct quorate_result *const *results;   /* TXN: one for each op of the branch taken */
	size_t n_results;
	int64_t lease;                 /* LEASE_...: its id */
	/* GRANT: as granted. KEEPALIVE: it has again, 0: no such lease. TIME_TO_LIVE: left, -1: none. */
	int64_t ttl;
	int64_t granted_ttl;           /* TIME_TO_LIVE */
	const int64_t *leases;         /* LEASE_LIST */
	size_t n_leases;
	const struct quorate_status *status;
	const struct quorate_member *members;
	size_t n_members;
	struct quorate_bytes hash;     /* HASH: over all rows up to hash_revision... */
	int64_t hash_revision, compact_revision;   /* ...comparable only if both are equal */
	const char *server;            /* SERVER_VERSION: as "0.1.0" */
	unsigned protocol;             /* likewise: 1 */
};

void quorate_result_free(struct quorate_result *r);   /* NULL is fine */

/* ---- calls that wait ---------------------------------------------------------------------- */

/*
 * Does one thing and waits for the answer. *r is NULL unless it succeeded; r may be NULL.
 *
 * It is repeated within its time, on another endpoint where there is one, when nothing was done
 * (`again` SAFE) and, of reads and IDEMPOTENT writes, also when unsure. Other errors are returned.
 */
int quorate_call(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		 struct quorate_result **r, struct quorate_error *e);

/* For C strings, with the default timeout. A key that does not exist: QUORATE_OK and n_kvs 0. */
int quorate_get(struct quorate *q, const char *key, struct quorate_result **r, struct quorate_error *e);
int quorate_put(struct quorate *q, const char *key, const char *value, struct quorate_error *e);
int quorate_delete(struct quorate *q, const char *key, struct quorate_error *e);

/*
 * A GET of any size, page by page, all of the same revision: each(arg, pair) is called for one pair
 * after the other, in the order of keys, in this thread, until it returns something else than 0,
 * which is then returned (keep to positive numbers of your own). The time is that of each page.
 * op->order must be NONE; op->limit is that of all. *r: as of a GET, but without pairs. If the
 * revision is compacted on the way: COMPACTED.
 */
int quorate_each(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		 int (*each)(void *arg, const struct quorate_kv *kv), void *arg,
		 struct quorate_result **r, struct quorate_error *e);

/* ---- calls that do not wait --------------------------------------------------------------- */

/*
 * What has ended is kept in a queue until a thread of yours takes it: when quorate_queue_fd() is
 * readable, quorate_dispatch() calls the callbacks. One queue for each loop or thread is a good
 * rule. Bounded: each call submitted reserves its place until its callback has been called.
 *
 * Queues and sessions are of one client: with another one, though of the same cluster, they are BAD_ARGUMENT.
 */
struct quorate_queue;

int quorate_queue_open(struct quorate *q, struct quorate_queue **queue, struct quorate_error *e);
/* What is still under way is cancelled, and its callbacks are not called any more; nor are those of
 * watches and sessions, which must be closed nonetheless. */
void quorate_queue_close(struct quorate_queue *queue);
/* For poll(2) and its kin, level-triggered; do not read it. */
int quorate_queue_fd(struct quorate_queue *queue);
/* Waits until something is there, hands out at most `most` (0: all that are there). How many. */
unsigned quorate_dispatch(struct quorate_queue *queue, int64_t timeout_ms, unsigned most);

/*
 * QUORATE_OK: done() will be called exactly once, by quorate_dispatch(), never before this returns,
 * with the outcome; the error is valid until it returns, the result (NULL unless e->code is OK) is
 * yours to free. *id (which may be NULL) names the call for quorate_cancel(). Else nothing was
 * begun: FULL, BAD_ARGUMENT, REQUEST_TOO_LARGE, NO_MEMORY, CANCELED.
 */
int quorate_submit(struct quorate *q, struct quorate_queue *queue, const struct quorate_op *op,
		   int64_t timeout_ms,
		   void (*done)(void *arg, struct quorate_result *r, const struct quorate_error *e),
		   void *arg, uint64_t *id, struct quorate_error *e);
/*
 * The call ends with CANCELED now, if it has not ended: `again` is SAFE if it was never sent, else
 * UNSURE. Its done() is still called. An id of a call that has ended does nothing.
 */
void quorate_cancel(struct quorate *q, uint64_t id);

/* ---- watches ------------------------------------------------------------------------------ */

/*
 * A watch tells every change of a key or a range: each once, in the order of revisions. It makes its
 * connection again when that breaks, and goes on from where it was: its owner sees a pause. If
 * the history in between is gone it says so and ends: read the present, and watch from the
 * revision behind that.
 */
struct quorate_watch;
struct quorate_session;

struct quorate_watch_options {
	size_t size;                   /* set by QUORATE_WATCH_OPTIONS_INIT */
	struct quorate_bytes key, range_end;   /* as in an op */
	unsigned flags;                /* PREFIX, FROM_KEY, PREV_KV, NO_PUT, NO_DELETE, PROGRESS */
	int64_t start_revision;        /* the first of interest, past or future; 0: from now on */
	/*
	 * So many bytes of events are kept for a reader that is behind; 0: 1 MiB. Beyond that the
	 * watch stands still, at no cost, and goes on from there when they have been taken.
	 */
	size_t max_bytes;
	/* ready(arg, watch) is called from the queue when something has come to a watch that had
	 * nothing; take it with quorate_watch_next(w, 0, ...) until TIMEOUT. NULL: nobody is told. */
	struct quorate_queue *queue;
	void (*ready)(void *arg, struct quorate_watch *w);
	void *arg;
	struct quorate_session *session;   /* not NULL: the watch ends when this session is lost */
};
#define QUORATE_WATCH_OPTIONS_INIT {.size = sizeof(struct quorate_watch_options)}

enum quorate_news_kind {
	QUORATE_BEGUN = 1,             /* the first news: registered; header says at which revision */
	QUORATE_EVENTS,
	QUORATE_PROGRESSED,            /* nothing more up to `revision` */
	QUORATE_COMPACTED,             /* the last news: `compact_revision` is the first still there */
	QUORATE_ENDED                  /* the last news: `error` says why */
};

enum quorate_event_type { QUORATE_EVENT_PUT = 1, QUORATE_EVENT_DELETE = 2 };

struct quorate_event {                 /* never grows */
	enum quorate_event_type type;
	struct quorate_kv kv;          /* of a delete only key and mod_revision */
	const struct quorate_kv *prev; /* before the event; NULL: not asked for, none, or compacted */
};

/* One piece of memory, which quorate_news_free() gives back. */
struct quorate_news {
	enum quorate_news_kind kind;
	bool partial;                  /* EVENTS: the rest of the last one's revision follows */
	struct quorate_header header;  /* BEGUN */
	int64_t revision;              /* unless partial, everything up to it has been told now */
	const struct quorate_event *events;
	size_t n_events;
	int64_t compact_revision;
	const struct quorate_error *error;   /* COMPACTED, ENDED */
};

int quorate_watch_open(struct quorate *q, const struct quorate_watch_options *o,
		       struct quorate_watch **w, struct quorate_error *e);
/*
 * QUORATE_OK and *news, which is yours to free; TIMEOUT: nothing came in time; CANCELED by
 * quorate_cancel_all(). After the last news: the code of its error, again and again.
 */
int quorate_watch_next(struct quorate_watch *w, int64_t timeout_ms, struct quorate_news **news,
		       struct quorate_error *e);
/* Asks how far it has got: PROGRESSED comes when it has been told all that was written before. */
int quorate_watch_progress(struct quorate_watch *w, struct quorate_error *e);
void quorate_watch_close(struct quorate_watch *w);
void quorate_news_free(struct quorate_news *news);    /* NULL is fine */

/* ---- sessions ----------------------------------------------------------------------------- */

/*
 * A lease that is kept alive in the background, at a third of its TTL, on any endpoint that answers.
 * Keys put with its lease live as long as it does. It is lost when the cluster says that the
 * lease is gone, or as soon as the cluster may have ended it: its TTL has passed since the last
 * keepalive that was answered was sent, also if the system was suspended. Lost is for ever.
 */
struct quorate_session_options {
	size_t size;                   /* set by QUORATE_SESSION_OPTIONS_INIT */
	int64_t ttl;                   /* seconds, of a new lease; 0: 60 */
	int64_t lease;                 /* not 0: keep this one, which exists, instead */
	struct quorate_queue *queue;   /* lost(arg, session, why) is called from here, once; or NULL */
	void (*lost)(void *arg, struct quorate_session *s, const struct quorate_error *why);
	void *arg;
};
#define QUORATE_SESSION_OPTIONS_INIT {.size = sizeof(struct quorate_session_options)}

/* Waits for the grant (or the first keepalive). */
int quorate_session_open(struct quorate *q, const struct quorate_session_options *o, int64_t timeout_ms,
			 struct quorate_session **s, struct quorate_error *e);
int64_t quorate_session_lease(const struct quorate_session *s);
/* For how long it can still be relied on if no keepalive is answered any more; 0: it is lost. */
int64_t quorate_session_left_ms(struct quorate_session *s);
/* Waits until it is lost: QUORATE_OK, and *why says how. TIMEOUT: it is not. */
int quorate_session_wait(struct quorate_session *s, int64_t timeout_ms, struct quorate_error *why);
/* Revokes the lease, which deletes its keys at once, if that can be done in time; frees it anyway. */
int quorate_session_close(struct quorate_session *s, int64_t timeout_ms, struct quorate_error *e);
/* Frees it and leaves the lease to run out, or to another keeper. */
void quorate_session_leave(struct quorate_session *s);

/* ---- recipes ------------------------------------------------------------------------------ */

/*
 * Built on calls, watches and sessions, and on nothing else. The keys are those of etcd's recipes:
 * programs of both may share a lock, an election or a service.
 *
 * What is held, is held by a session, and lost with it at once. Every name is one of the view that
 * the recipe was opened with; cancelling that view ends its waits, and what they had begun is
 * cleaned up nonetheless, if the session was opened through another one. View and session must
 * outlive the recipe.
 *
 * What a recipe writes is made again when its answer is lost. A copy that is done late, by a node that was
 * stopped with it, changes nothing: not after any time, and whatever has been done in between. (What a call
 * that has ended UNSURE has asked for may still be done, once.)
 */

/*
 * A lock is a line: who wants it puts a key that lives as long as his session, and has the lock
 * when no key that was created earlier stands in his way. So it is fair, each waiter watches the one
 * key before his own, and the key's create revision grows from holder to holder.
 */
struct quorate_lock;

enum quorate_lock_mode {
	QUORATE_MUTEX = 1,             /* one holder; key NAME/LEASE, the lease in hexadecimal */
	QUORATE_READ_LOCK,             /* together with other readers; NAME/read/... */
	QUORATE_WRITE_LOCK             /* alone; NAME/write/... Readers that come later wait behind it. */
};

int quorate_lock_open(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
		      enum quorate_lock_mode mode, struct quorate_lock **l, struct quorate_error *e);
/*
 * Waits for the lock. TIMEOUT, CANCELED: not got, and the place in the line is given up for good; `again`
 * is UNSURE if that could not be made sure: then the next call through this handle, or the end of the
 * session, does it. LOST: the session or the place is gone. BAD_ARGUMENT: this handle has the lock, or
 * another thread is busy with it: threads take a handle each, and exclude each other also with
 * one session.
 */
int quorate_lock_acquire(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e);
/* The same, but for HELD: somebody else has it, or waits before us. */
int quorate_lock_try(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e);
/*
 * QUORATE_OK: it was held until now. LOST: it had been lost before. Both times it is not ours any
 * more. Other errors: that is not known, try again.
 */
int quorate_lock_release(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e);
/*
 * The fencing token: whoever does the work that the lock protects refuses a token below the highest
 * that it has seen. (With read locks: below the highest of a writer.) 0: not held, as far as we know.
 */
int64_t quorate_lock_token(const struct quorate_lock *l);
/* In a transaction: true as long as the lock is held, whatever this process believes. */
struct quorate_compare quorate_lock_held(const struct quorate_lock *l);
struct quorate_bytes quorate_lock_key(const struct quorate_lock *l);   /* lives as long as l */
/* Waits until a lock that is held is lost: QUORATE_OK, and *why says how. TIMEOUT: it is not. */
int quorate_lock_lost(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *why);
void quorate_lock_close(struct quorate_lock *l);   /* releases it if need be and if it can */

/*
 * An election is the same line with a value: the first is the leader, NAME/LEASE is his key. One
 * handle for each session and name.
 */
struct quorate_election;

int quorate_election_open(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
			  struct quorate_election **el, struct quorate_error *e);
/* Waits to be the leader; errors as of quorate_lock_acquire(). */
int quorate_election_campaign(struct quorate_election *el, struct quorate_bytes value,
			      int64_t timeout_ms, struct quorate_error *e);
/* The leader says something else. LOST: it leads no more. */
int quorate_election_proclaim(struct quorate_election *el, struct quorate_bytes value,
			      int64_t timeout_ms, struct quorate_error *e);
int quorate_election_resign(struct quorate_election *el, int64_t timeout_ms, struct quorate_error *e);
int64_t quorate_election_token(const struct quorate_election *el);
struct quorate_compare quorate_election_held(const struct quorate_election *el);
struct quorate_bytes quorate_election_key(const struct quorate_election *el);
int quorate_election_lost(struct quorate_election *el, int64_t timeout_ms, struct quorate_error *why);
void quorate_election_close(struct quorate_election *el);   /* resigns if need be and if it can */
/* Who leads: a result as of GET with one pair. NOT_FOUND: nobody. */
int quorate_election_leader(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			    struct quorate_result **r, struct quorate_error *e);

/*
 * Follows an election: first who leads, then each change of the leader or of what it says. Of values
 * that follow closely some may be left out, never the last. One thread at a time.
 */
struct quorate_observer;

int quorate_observer_open(struct quorate *q, struct quorate_bytes name, struct quorate_observer **ob,
			  struct quorate_error *e);
/*
 * QUORATE_OK and the leader's pair, valid until the next call; NULL: nobody leads. TIMEOUT: no news;
 * timeout_ms 0: only what has come, and what is still to be asked is asked meanwhile. Other errors: the next
 * call begins anew.
 */
int quorate_observer_next(struct quorate_observer *ob, int64_t timeout_ms,
			  const struct quorate_kv **leader, struct quorate_error *e);
void quorate_observer_close(struct quorate_observer *ob);

/*
 * A service is a set of addresses, each with words about it, that are there as long as who
 * registered them: keys SERVICE/ADDRESS, values as etcd's "naming" writes them, for gRPC too.
 */
struct quorate_registration;

struct quorate_service_options {
	size_t size;                   /* set by QUORATE_SERVICE_OPTIONS_INIT */
	struct quorate_bytes service, address;   /* UTF-8, not empty */
	struct quorate_bytes metadata; /* UTF-8; may be empty */
	/* Whose lease the key has. NULL: a session of its own of `ttl` seconds (0: 10), and if that is
	 * lost another one, in the background, until it is closed. */
	struct quorate_session *session;
	int64_t ttl;
};
#define QUORATE_SERVICE_OPTIONS_INIT {.size = sizeof(struct quorate_service_options)}

int quorate_register(struct quorate *q, const struct quorate_service_options *o, int64_t timeout_ms,
		     struct quorate_registration **r, struct quorate_error *e);
/* Says something else about the address. LOST: it is not registered any more. */
int quorate_registration_update(struct quorate_registration *r, struct quorate_bytes metadata,
				int64_t timeout_ms, struct quorate_error *e);
/* How often it has been registered again. */
unsigned quorate_registration_renewals(const struct quorate_registration *r);
/* Takes the address out, if that can be done in time; frees it anyway. */
int quorate_registration_close(struct quorate_registration *r, int64_t timeout_ms,
			       struct quorate_error *e);

/*
 * The addresses of a service, followed by a thread of its own. While the cluster cannot be reached
 * the list stays what it was.
 */
struct quorate_resolver;

struct quorate_address {               /* never grows */
	const char *address, *metadata;   /* NUL-terminated; metadata that is no JSON string: as JSON */
	int64_t create_revision, mod_revision;   /* of its key */
	int64_t lease;
};

struct quorate_addresses {             /* one piece of memory, for quorate_addresses_free() */
	int64_t revision;              /* they were these at this revision */
	const struct quorate_address *v;   /* in the order of keys */
	size_t n;
};

/* Waits for the first list. */
int quorate_resolver_open(struct quorate *q, struct quorate_bytes service, int64_t timeout_ms,
			  struct quorate_resolver **rs, struct quorate_error *e);
/*
 * The first time the list as it is, then the newest each time that it has changed. TIMEOUT: it has
 * not; timeout_ms 0: do not wait.
 */
int quorate_resolver_next(struct quorate_resolver *rs, int64_t timeout_ms,
			  struct quorate_addresses **list, struct quorate_error *e);
/* For poll(2): readable when quorate_resolver_next() would not wait; do not read it. */
int quorate_resolver_fd(const struct quorate_resolver *rs);
void quorate_resolver_close(struct quorate_resolver *rs);
void quorate_addresses_free(struct quorate_addresses *list);   /* NULL is fine */

/*
 * A subscriber gets every event of a prefix, in order, from a position that is kept in the cluster:
 * it may be stopped, killed and started elsewhere, and goes on behind what it has acknowledged. To
 * publish is to put. What was not acknowledged comes again; who may not do a thing twice
 * acknowledges in the transaction that does it. The position is the key POSITION with the value
 * "REVISION EVENTS" (so many events of that revision are done, and all before it), and
 * POSITION/owner: the newest subscriber takes it, and an older one loses it.
 */
struct quorate_subscriber;             /* one thread takes events, and one acknowledges, at a time */

struct quorate_subscriber_options {
	size_t size;                   /* set by QUORATE_SUBSCRIBER_OPTIONS_INIT */
	struct quorate_bytes prefix;   /* of the keys whose events it wants; not of the position's */
	struct quorate_bytes position;
	unsigned flags;                /* QUORATE_PREV_KV, QUORATE_NO_PUT, QUORATE_NO_DELETE: always the same */
	/* If there is no position yet: the first revision of interest; 0: from now on. */
	int64_t start_revision;
};
#define QUORATE_SUBSCRIBER_OPTIONS_INIT {.size = sizeof(struct quorate_subscriber_options)}

struct quorate_message {
	const struct quorate_event *event;   /* valid until the next call of quorate_subscriber_next */
	int64_t revision;              /* its place, for acknowledging: of the event... */
	int64_t number;                /* ...and which one of that revision it is, from 1 on */
};

int quorate_subscriber_open(struct quorate *q, const struct quorate_subscriber_options *o,
			    int64_t timeout_ms, struct quorate_subscriber **s, struct quorate_error *e);
/*
 * The next event. TIMEOUT: none in time; 0: only what has come. COMPACTED: the history from its
 * position up to quorate_subscriber_compacted() is gone, so events may be lost: read the present,
 * then say where to go on with quorate_subscriber_seek().
 */
int quorate_subscriber_next(struct quorate_subscriber *s, int64_t timeout_ms,
			    struct quorate_message *m, struct quorate_error *e);
int64_t quorate_subscriber_compacted(const struct quorate_subscriber *s);
/* Everything up to this message is done, durably when it returns. LOST: another subscriber has the
 * position. m NULL: everything that was handed out. */
int quorate_subscriber_ack(struct quorate_subscriber *s, const struct quorate_message *m,
			   int64_t timeout_ms, struct quorate_error *e);
/*
 * The same as parts of a transaction of yours: what it does and that it is done are one. If the
 * compare fails the position is another subscriber's. Both live until the next call for s. If it ends
 * UNSURE, open another subscriber: it takes the position, so that the transaction cannot be done any more,
 * and begins with this message if it was not.
 */
void quorate_subscriber_ack_op(struct quorate_subscriber *s, const struct quorate_message *m,
			       struct quorate_compare *compare, struct quorate_op *op);
/* Goes on with this revision, and keeps that as its position; 0: from now on. */
int quorate_subscriber_seek(struct quorate_subscriber *s, int64_t revision, int64_t timeout_ms,
			    struct quorate_error *e);
/* Forgets what was not acknowledged. */
void quorate_subscriber_close(struct quorate_subscriber *s);

/* ---- transactional memory ----------------------------------------------------------------- */

/*
 * A function of yours reads and writes keys as if it were alone; what it wrote takes effect as one
 * transaction of the store, if what it read still holds as its level asks. Else it is called again,
 * after a random pause, with what has changed. So it may run many times: it must have no other
 * effects, and it must end whatever it reads.
 *
 * The levels are etcd's, and check at the commit what etcd's check:
 *
 *                           reads are of        the commit fails if, since then, there has changed
 *   SERIALIZABLE_SNAPSHOT   one revision        a key that was read or is to be written
 *   SERIALIZABLE_READS      one revision        a key that was read
 *   REPEATABLE_READS        each its own, once  a key that was read
 *   READ_COMMITTED          each its own        (nothing is checked)
 *
 * So the first two see the store as it was at one instant. Write skew, lost updates and reads that do
 * not repeat are kept out by the first three. A key that is written without having been read may
 * overwrite what somebody else has just written, but for the first. READ_COMMITTED keeps only half
 * a transaction from being seen or done.
 */
struct quorate_stm;

enum quorate_isolation {
	QUORATE_SERIALIZABLE_SNAPSHOT, QUORATE_SERIALIZABLE_READS, QUORATE_REPEATABLE_READS,
	QUORATE_READ_COMMITTED
};

struct quorate_stm_options {
	size_t size;                   /* set by QUORATE_STM_OPTIONS_INIT */
	enum quorate_isolation isolation;
	unsigned max_tries;            /* then CONFLICT; 0: as many as there is time for */
	const struct quorate_bytes *prefetch;   /* keys that it will read: fetched by one request */
	size_t n_prefetch;
};
#define QUORATE_STM_OPTIONS_INIT {.size = sizeof(struct quorate_stm_options)}

/*
 * QUORATE_OK: committed; *r (r may be NULL) is the transaction's result, or NULL if there was nothing
 * to write or check. What `apply` returns, unless 0, ends it without a commit and is returned: use
 * negative numbers for reasons of your own. CONFLICT, and TIMEOUT if it is SAFE: nothing was done. An error
 * that is UNSURE is the commit's: it may have been done, so that a second run may do it twice, unless
 * the function can see it in what it reads. o may be NULL.
 */
int quorate_stm_run(struct quorate *q, const struct quorate_stm_options *o,
		    int (*apply)(struct quorate_stm *t, void *arg), void *arg, int64_t timeout_ms,
		    struct quorate_result **r, struct quorate_error *e);

/*
 * Inside `apply`, in its thread. After an error the transaction cannot commit and every call returns
 * that error: return it too. At most 128 keys may be read or compared, and 128 written.
 *
 * *kv: NULL if there is no such key; valid until the next read or write of that key, or the end of
 * apply(). Of a key that the transaction has written it has the value and the lease, and no revisions.
 */
int quorate_stm_get(struct quorate_stm *t, struct quorate_bytes key, const struct quorate_kv **kv);
int quorate_stm_put(struct quorate_stm *t, struct quorate_bytes key, struct quorate_bytes value,
		    int64_t lease);
int quorate_stm_delete(struct quorate_stm *t, struct quorate_bytes key);

/* ---- barriers ----------------------------------------------------------------------------- */

/*
 * While the key NAME is there, who meets it waits. With a lease it goes with that lease. HELD: it is there already.
 * LOST, UNSURE: an answer was lost, and it is not there: it was put and has been released, or was not put.
 */
int quorate_barrier_hold(struct quorate *q, struct quorate_bytes name, int64_t lease, int64_t timeout_ms,
			 struct quorate_error *e);
int quorate_barrier_release(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			    struct quorate_error *e);
int quorate_barrier_wait(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			 struct quorate_error *e);

/*
 * A double barrier: a group of `count` goes in when all have come, and out when all are ready to
 * leave. A member whose session is lost has left. FULL: more have come than `count`.
 */
struct quorate_double_barrier;

int quorate_double_barrier_enter(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
				 unsigned count, int64_t timeout_ms, struct quorate_double_barrier **b,
				 struct quorate_error *e);
int quorate_double_barrier_leave(struct quorate_double_barrier *b, int64_t timeout_ms,
				 struct quorate_error *e);
void quorate_double_barrier_close(struct quorate_double_barrier *b);   /* leaves at once, if it has not */

/* ---- queues of work ----------------------------------------------------------------------- */

/*
 * Pieces of work are taken by one taker each, lower priorities first, and within a priority in the
 * order in which they were put (of those put at the same time, in any). A piece stays in the queue
 * while somebody has it: if his session is lost another one gets it. So a piece is done at least
 * once; and exactly once by a transaction that does it, if quorate_work_held() is one of its compares
 * and the delete of quorate_work_key() one of its operations.
 */
struct quorate_work;

/* UNSURE: it may be in the queue. Putting it again may put it twice. */
int quorate_work_put(struct quorate *q, struct quorate_bytes queue, unsigned priority,
		     struct quorate_bytes value, int64_t timeout_ms, struct quorate_error *e);
/* Waits for a piece that nobody has. TIMEOUT: there was none. The session must outlive it. */
int quorate_work_take(struct quorate *q, struct quorate_session *s, struct quorate_bytes queue,
		      int64_t timeout_ms, struct quorate_work **w, struct quorate_error *e);
struct quorate_bytes quorate_work_value(const struct quorate_work *w);   /* both live as long as w */
struct quorate_bytes quorate_work_key(const struct quorate_work *w);
int64_t quorate_work_token(const struct quorate_work *w);   /* for fencing, grows with each taker; 0: not ours */
struct quorate_compare quorate_work_held(const struct quorate_work *w);   /* in a transaction: it is still ours */
/*
 * Takes it out of the queue. LOST: the session was lost before, and somebody else may do it; if `again` is
 * UNSURE, an earlier try of ours may have taken it out instead. Other errors: that is not known, try again.
 */
int quorate_work_done(struct quorate_work *w, int64_t timeout_ms, struct quorate_error *e);
void quorate_work_close(struct quorate_work *w);   /* gives it back, if it was not done */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
