/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2: paths, metadata, messages in frames, statuses in trailers. Which RPCs there are is
 * one table (methods.c); most of them are served as the native protocol's methods are, and differ in
 * the form of their messages only (proto/etcd.h).
 *
 *   opened --metadata--> known method --message--> run --result, error--> settled --trailers--> gone
 *                         \ streaming: a message at a time, as long as it is not busy
 *
 * A stream that is gone (reset, deadline, connection lost) takes its requests with it.
 */
#ifndef QUORATE_GRPC_H
#define QUORATE_GRPC_H

#include "base/check.h"
#include "base/err.h"
#include "gatewayd/gateway.h"
#include "gatewayd/h2/h2.h"
#include "proto/etcd.h"


struct grpc_stream;

enum grpc_kind {
	GRPC_UNARY,           /* one message, one answer */
	GRPC_STREAM,          /* any number both ways */
	GRPC_MISSING          /* nothing yet: answered with its `missing` */
};

struct grpc_method {
	const char *path;
	enum grpc_kind kind;
	const struct pb_desc *params;         /* of each message of the client */
	method_fn *run;                       /* for each of them */
	const struct pb_desc *result;         /* the form of the struct that the service answers with */
	/* Makes another of it, and sends that; or, if there is a `result` too, changes it before. */
	void (*answer)(struct grpc_stream *s, const void *result);
	const char *missing;
};

/* What a streaming or composed RPC keeps for its stream; `gone` frees it. */
struct grpc_state {
	void (*end)(struct grpc_stream *s);                   /* the client has ended its side */
	void (*error)(struct grpc_stream *s, uint32_t id, int err);
	void (*result)(struct grpc_stream *s, uint32_t id, const struct msg_desc *d, const void *result);
	/* A range; without this it goes to the client as it is. */
	void (*read)(struct grpc_stream *s, uint32_t id, struct bytes answer);
	void (*watch)(struct grpc_stream *s, const struct watch_got *got);
	void (*gone)(struct grpc_stream *s);
};

struct grpc_stream {
	struct h2_stream h2;
	struct caller caller;
	struct gateway *g;
	const struct grpc_method *method;     /* NULL: not known (yet) */
	const struct grpc_state *state_ops;   /* NULL: none */
	void *state;
	struct buf path;                      /* as far as it is needed to say that it is unknown */
	struct buf in;                        /* of messages that are not complete, or wait */
	struct buf range;                     /* for state_ops->read */
	uint32_t range_id;
	struct loop_timer timer;              /* the caller's deadline */
	struct list leaders;                  /* of the gateway's streams that end without a leader */
	int64_t timeout_ms;                   /* -1: none */
	uint32_t n_messages;
	bool post, grpc, encoded, bad_version, has_leader;
	bool busy;                            /* streaming: later messages wait */
	bool waits;                           /* so they do until the client has taken answers */
	bool parsing;                         /* a message is being run */
	bool settled;                         /* the status is on its way */
	bool streaming;                       /* a large answer is being written */
};

extern const struct h2_ops grpc_ops;
extern const struct grpc_method grpc_methods[];

#define GRPC_OF(k) container_of((k), struct grpc_stream, caller)

/* methods.c: NULL if there is none; *service says whether at least the service is known. */
const struct grpc_method *grpc_method_find(struct bytes path, bool *service);

/* One message of a streaming answer, or the only one of another. */
void grpc_send(struct grpc_stream *s, const struct pb_desc *d, const void *msg);
/* Around a message that is appended: returns where it begins. */
size_t grpc_message_begin(struct grpc_stream *s);
void grpc_message_end(struct grpc_stream *s, size_t mark);
/* The end, in one of these ways; all that goes on for the stream is given up. */
void grpc_ok(struct grpc_stream *s);
void grpc_error(struct grpc_stream *s, int err);
void grpc_status(struct grpc_stream *s, enum err_grpc code, const char *text);
/* Not busy any more: messages that have waited are looked at, after this call. */
void grpc_go_on(struct grpc_stream *s);

/* gateway.c calls these. */
void grpc_init(struct gateway *g);
void grpc_free(struct gateway *g);

/* The composed and converted methods. */
method_fn grpc_txn, grpc_range_stream, grpc_leases, grpc_keepalive, grpc_watch, grpc_members, grpc_hash, grpc_alarm,
	grpc_auth_status, grpc_authenticate, grpc_auth_none,
	grpc_health_check, grpc_health_all, grpc_health_watch, grpc_lock, grpc_unlock, grpc_campaign, grpc_proclaim, grpc_leader,
	grpc_observe, grpc_resign;
void grpc_answer_txn(struct grpc_stream *s, const void *result);
void grpc_answer_status(struct grpc_stream *s, const void *result);
void grpc_answer_hash(struct grpc_stream *s, const void *result);
void grpc_answer_hash_kv(struct grpc_stream *s, const void *result);
void grpc_answer_unlock(struct grpc_stream *s, const void *result);

/* "etcdserver: " and the error's text, as clients know it; valid until the next call. */
const char *grpc_text(int err);

#endif
