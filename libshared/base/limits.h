/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every limit of Quorate, in one place, with the static asserts that hold them together.
 * Reaching one gives a clear error or back-pressure, never growth without end.
 */
#ifndef QUORATE_LIMITS_H
#define QUORATE_LIMITS_H

#define KIB 1024u
#define MIB (1024u * 1024u)

/* What a client may ask. */
#define LIMIT_REQUEST_BYTES (1536u * KIB)      /* one request, encoded; etcd's 1.5 MiB */
#define LIMIT_TXN_OPS 128u                     /* compares, or operations of one branch */
#define LIMIT_TXN_DEPTH 8u                     /* nesting of transactions */
#define LIMIT_TXN_TREE_OPS 1024u               /* all compares and operations, nested ones included */
#define LIMIT_TXN_ROWS 100000u                 /* keys all its parts may look at, see mvcc/txn.h */
#define LIMIT_TXN_RESPONSE_BYTES (16u * MIB)   /* what a transaction that only reads may answer */
#define LIMIT_RESULT_BYTES (3u * MIB)          /* what one replicated command may answer */
#define LIMIT_SORT_ROWS 1000000u               /* rows one sorted or filtered range may hold */

/* MessagePack decoding. */
#define LIMIT_DECODE_DEPTH 24u                 /* nesting of arrays and maps */

/* Links between the daemons of a node. */
#define LIMIT_FRAME_BYTES (4u * MIB)           /* one message: batches stay far below */
#define LIMIT_BATCH_BYTES (1u * MIB)           /* a batch is closed at this size... */
#define LIMIT_BATCH_ITEMS 1024u                /* ...or at this many items; one item may exceed the bytes */
#define LIMIT_APPLY_WINDOW_BYTES (8u * MIB)   /* sent to stored and not yet answered... */
#define LIMIT_APPLY_WINDOW_BATCHES 256u       /* ...and in so many batches */
#define LIMIT_LINK_QUEUE_BYTES (16u * MIB)     /* waiting to be written on one link */
#define LIMIT_LINK_ARENA_BYTES (64u * MIB)     /* lists of one decoded message */
#define LIMIT_LINK_HELLO_BYTES 256u            /* the first frame of a link */
#define LIMIT_LINK_GREETING 16u                /* connections per server that have not said hello */

/* Consensus. */
#define LIMIT_NODES 9u                         /* voters of a cluster */
#define LIMIT_APPEND_ENTRIES 1024u             /* entries of one append message or proposal */
#define LIMIT_PEER_INFLIGHT_MSGS 64u           /* unacknowledged append messages per peer */
#define LIMIT_PEER_INFLIGHT_BYTES (8u * MIB)
#define LIMIT_PEER_ROOM_BYTES (2u * MIB)       /* waiting to be written to one peer: no more entries for now */
#define LIMIT_PEER_QUEUE_BYTES (16u * MIB)     /* waiting to be written to one peer; then messages are dropped */
#define LIMIT_PEER_STRANGERS 32u               /* connections to the peer port that have not proved a member's key */
#define LIMIT_READS_WAITING 65536u             /* read-index requests waiting in raftd */
#define LIMIT_UNCOMMITTED_BYTES (64u * MIB)    /* proposals the leader holds uncommitted */

/* Peer channel. The rekey limits are part of the protocol: both sides count alike. */
#define LIMIT_NOISE_PAYLOAD_BYTES 256u         /* payload of one handshake message */
#define LIMIT_NOISE_REKEY_BYTES (1024u * MIB)  /* a direction's key serves this many bytes... */
#define LIMIT_NOISE_REKEY_MESSAGES 0x100000000u   /* ...or this many messages, 2^32 */

/* The raft log on disk. */
#define LIMIT_WAL_SEGMENT_BYTES (64u * MIB)    /* one file; made and zero-filled ahead */
#define LIMIT_WAL_SEGMENT_MAX (1024u * MIB)    /* the largest that may be configured */
#define LIMIT_WAL_BATCH_BYTES (4u * MIB)       /* one write and one sync; two are in memory */
#define LIMIT_WAL_ENTRY_BYTES (2u * MIB)       /* payload of one entry */
#define LIMIT_WAL_CACHE_BYTES (32u * MIB)      /* newest entries held in memory */
#define LIMIT_WAL_SEGMENTS 65536u              /* files of one log: 4 TiB */
#define LIMIT_WAL_POINTS 131072u               /* rows of the sparse index, then every second one goes */
#define LIMIT_WAL_TERM_RUNS 1048576u           /* terms in one uncut log */

/* The gateway. */
#define LIMIT_CLIENT_CONNECTIONS 20000u        /* per gatewayd; also bounded by RLIMIT_NOFILE */
#define LIMIT_GATEWAY_PROPOSALS 8192u          /* in flight per gatewayd */
#define LIMIT_GATEWAY_PROPOSAL_BYTES (64u * MIB)
#define LIMIT_GATEWAY_READS 65536u             /* ranges and reading transactions not yet answered... */
#define LIMIT_GATEWAY_READ_BYTES (64u * MIB)   /* ...and their parameters, as bytes and as what they unfold to */
#define LIMIT_GATEWAY_QUESTIONS 8192u          /* status, hash and move_leader not yet answered */
#define LIMIT_GATEWAY_WORK_BYTES (384u * MIB)  /* what reads under way hold; at twice as much small ones are refused too */
#define LIMIT_GATEWAY_SORT_BYTES (128u * MIB)  /* keys (and values) one sorted range holds */
#define LIMIT_GATEWAY_IN_BYTES (256u * MIB)    /* half-come requests of all connections together */
#define LIMIT_GATEWAY_OUT_BYTES (256u * MIB)   /* answers not yet taken, likewise */
#define LIMIT_GATEWAY_KEEP_BYTES (768u * KIB)  /* of an answer until its length is known: the rest is read twice */
#define LIMIT_GATEWAY_KEPT_BYTES (64u * MIB)   /* the same, of all reads that are between two steps */
#define LIMIT_GATEWAY_STEP_ROWS 2000u          /* rows of a read in one step... */
#define LIMIT_GATEWAY_STEP_BYTES (128u * KIB)  /* ...or this much of an answer */
#define LIMIT_GATEWAY_TURN_US 1000u            /* reading in one turn of the loop */
#define LIMIT_CONN_MESSAGE_BYTES (2u * MIB)    /* one request with all around it; more closes */
#define LIMIT_CONN_REQUESTS 1024u              /* in flight on one connection; then it is not read */
#define LIMIT_CONN_READ_BYTES (64u * KIB)      /* taken from one connection in one turn */
#define LIMIT_CONN_WRITE_BYTES (1u * MIB)      /* written to one connection in one turn */
#define LIMIT_CONN_OUT_HIGH (256u * KIB)       /* waiting to be written: no new requests are read... */
#define LIMIT_CONN_OUT_LOW (64u * KIB)         /* ...until it is this little again */
#define LIMIT_CONN_OUT_MAX (8u * MIB)          /* results of writes above this are thrown away */
#define LIMIT_CONN_STALL_MS 30000u             /* a client takes no byte of its answers: dropped */
#define LIMIT_CONN_LINGER_MS 2000u             /* for the last words to reach a client */
#define LIMIT_CONN_HEAD_MS 10000u              /* from the first byte of HTTP's head or preface to its last */
#define LIMIT_REQUEST_TIMEOUT_MS 7000u         /* as etcd: 5 s + 2 election timeouts of 1 s */

/* HTTP/1.1. */
#define LIMIT_HTTP_HEAD_BYTES (16u * KIB)      /* request line and header fields */
#define LIMIT_HTTP_BODY_BYTES (3u * MIB)       /* of a request, as JSON: base64 is a third longer */
#define LIMIT_HTTP_VALUES 65536u               /* of one request: each unfolds to some 200 bytes while it is read */

/* HTTP/2. */
#define LIMIT_H2_STREAMS 1024u                 /* open at a time on one connection */
#define LIMIT_H2_STREAM_WINDOW (1u * MIB)      /* bytes a client may send ahead on one stream... */
#define LIMIT_H2_WINDOW (4u * MIB)             /* ...and on one connection */
#define LIMIT_H2_IN_BYTES (16u * MIB)          /* half-come requests of one connection */
#define LIMIT_H2_HEADER_BYTES (16u * KIB)      /* header fields of one request... */
#define LIMIT_H2_HEADER_EXTRA 32u              /* ...each counted as so much longer (RFC 9113, 6.5.2) */
#define LIMIT_H2_CONTINUATIONS 8u              /* frames that go on with one header block */
#define LIMIT_H2_RESETS 10000u                 /* streams that a client may cancel at once... */
#define LIMIT_H2_RESETS_S 1000u                /* ...and so many more each second */
#define LIMIT_H2_PING_MS 5000                  /* pings closer than this are strikes, as etcd has it... */
#define LIMIT_H2_PING_STRIKES 2u               /* ...of which so many are borne */
#define LIMIT_H2_GOODBYE_MS 100                /* from "no more streams" to "that was the last one" */
#define LIMIT_GATEWAY_SESSION_BYTES (256u * MIB)   /* what the sessions of all connections hold */

/* The store. */
#define LIMIT_KEY_INLINE_BYTES 480u            /* escaped key bytes that one row's key holds */
#define LIMIT_DEDUP_ROWS 65536u                /* results kept for repeated commands... */
#define LIMIT_DEDUP_BYTES (64u * MIB)          /* ...and their bytes */
#define LIMIT_DEDUP_RESULT_BYTES (64u * KIB)   /* a larger result is not kept, only its revision */
#define LIMIT_GATEWAY_SESSIONS 1024u           /* gateway incarnations the store remembers */
#define LIMIT_COMPACT_STEP_ROWS 1000u          /* rows removed in one step of compaction */
#define LIMIT_COMPACT_STEP_VISITS 1000u        /* rows looked at between two looks at the clock */
#define LIMIT_VIEW_ROWS 10000u                 /* rows one view looks at before it is ended */
#define LIMIT_STORE_READERS 1024u              /* read transactions of all processes of a node */
#define LIMIT_STORE_GATEWAYS 64u               /* gatewayds linked to one stored */
#define LIMIT_APPLY_TXN_BYTES (4u * MIB)       /* a transaction of the store is committed at this much... */
#define LIMIT_APPLY_TXN_ENTRIES 4096u          /* ...or so many entries of the log... */
#define LIMIT_APPLY_TXN_US 20000u              /* ...or after so long */
#define LIMIT_STORE_HASHES 4u                  /* store hashes computed at a time */

/* Leases. Those of the store are part of its format. */
#define LIMIT_LEASES 1000000u                  /* of a cluster: each costs leased about 100 bytes */
#define LIMIT_LEASE_KEYS 100000u               /* attached to one lease: its end deletes all in one command */
#define LIMIT_LEASE_TTL_S 9000000000           /* etcd's */
#define LIMIT_LEASE_MARKS 1000u                /* remaining times in one checkpoint */
#define LIMIT_LEASE_ASKS 65536u                /* keepalives and questions waiting in leased, or in a gatewayd */
#define LIMIT_LEASE_PAGE_ROWS 10000u           /* leases or keys in one answer... */
#define LIMIT_LEASE_PAGE_BYTES (1u * MIB)      /* ...or this much of it */

/* Snapshots. */
#define LIMIT_SNAPSHOT_CHUNK_BYTES (64u * KIB) /* of a file on its way to another node: one message */
#define LIMIT_SNAPSHOT_CHUNKS 16u              /* of them sent and not answered */
#define LIMIT_SNAPSHOT_COPY_S 60u              /* a copy is given up after this... */
#define LIMIT_SNAPSHOT_COPY_SLOWER 8u          /* ...and so many times what its rate allows for */

/* Watches. */
#define LIMIT_WATCHES 2000000u                 /* of one watchd */
#define LIMIT_GATEWAY_WATCHES 500000u          /* of one gatewayd */
#define LIMIT_CONN_WATCHES 10000u              /* of one client's connection */
#define LIMIT_WATCH_BYTES (512u * MIB)         /* their keys and range ends: of one watchd... */
#define LIMIT_GATEWAY_WATCH_BYTES (128u * MIB) /* ...of one gatewayd... */
#define LIMIT_CONN_WATCH_BYTES (16u * MIB)     /* ...of one client's connection */
#define LIMIT_WATCH_ENDED_IDS 64u              /* of a stream: ids of ended watches that are not free yet */
#define LIMIT_WATCH_GATEWAYS 64u               /* gatewayds linked to one watchd */
#define LIMIT_WATCH_STREAMS 65536u             /* clients' connections with watches per gatewayd */
#define LIMIT_WATCH_REFS 16384u                /* watches named by one message */
#define LIMIT_WATCH_LINK_BYTES (8u * MIB)      /* events sent to a gatewayd and not yet taken by it */
#define LIMIT_WATCH_STREAM_BYTES (512u * KIB)  /* events sent for one client and not yet taken by it */
#define LIMIT_WATCH_SLICE_BYTES (256u * KIB)   /* history is read in slices of this much... */
#define LIMIT_WATCH_SLICE_EVENTS 1000u         /* ...or so many events... */
#define LIMIT_WATCH_SLICE_ROWS 2000u           /* ...or rows looked at... */
#define LIMIT_WATCH_SLICE_HITS 65536u          /* ...or events times watches; then at the next revision */
#define LIMIT_WATCH_FRAGMENT_BYTES LIMIT_REQUEST_BYTES   /* of events in one response, for who takes fragments; about etcd's */
#define LIMIT_WATCH_CUT_ROWS 8000u             /* a revision larger than this is cut */
#define LIMIT_WATCH_TURN_US 3000u              /* reading in one turn of the loop */

/* The client library and the command. */
#define LIMIT_CLIENT_ENDPOINTS 64u             /* addresses one client tries */
#define LIMIT_CLIENT_INFLIGHT 65536u           /* requests in flight on one connection */
#define LIMIT_CLIENT_QUEUE_BYTES (16u * MIB)   /* requests waiting to be written */
#define LIMIT_CLIENT_RESPONSE_BYTES (32u * MIB)   /* one response that is not streamed */
#define LIMIT_CLIENT_ERROR_BYTES 1024u         /* words of an error that are kept */
#define LIMIT_CLIENT_PAIR_BYTES (LIMIT_REQUEST_BYTES + 4u * KIB)   /* one pair of a streamed range */
#define LIMIT_BENCH_CONNECTIONS 1024u

/* The configuration file. */
#define LIMIT_CONFIG_BYTES (256u * KIB)
#define LIMIT_CONFIG_LINE_BYTES 4095u

/* Admin sockets. */
#define LIMIT_ADMIN_LINE_BYTES 1024u
#define LIMIT_ADMIN_REPLY_BYTES (1u * MIB)
#define LIMIT_ADMIN_CONNECTIONS 32u

_Static_assert(LIMIT_REQUEST_BYTES + 64u * KIB <= LIMIT_FRAME_BYTES, "a request fits a frame");
_Static_assert(LIMIT_RESULT_BYTES + 64u * KIB <= LIMIT_FRAME_BYTES, "a result fits a frame");
_Static_assert(LIMIT_RESULT_BYTES <= LIMIT_TXN_RESPONSE_BYTES, "reading alone may answer more");
_Static_assert(LIMIT_BATCH_BYTES + LIMIT_REQUEST_BYTES + 64u * KIB <= LIMIT_FRAME_BYTES,
	       "a batch closed late still fits a frame");
_Static_assert(LIMIT_FRAME_BYTES * 2 <= LIMIT_LINK_QUEUE_BYTES, "two frames fit a queue");
_Static_assert(LIMIT_NOISE_REKEY_BYTES / LIMIT_FRAME_BYTES >= 16, "a peer key serves many frames");
_Static_assert(LIMIT_APPLY_WINDOW_BYTES + LIMIT_FRAME_BYTES <= LIMIT_LINK_QUEUE_BYTES,
	       "the apply window never fills the link");
_Static_assert(LIMIT_APPEND_ENTRIES >= LIMIT_BATCH_ITEMS, "a batch can be proposed at once");
_Static_assert(LIMIT_PEER_ROOM_BYTES + LIMIT_FRAME_BYTES <= LIMIT_PEER_QUEUE_BYTES,
	       "entries never fill a peer's queue: heartbeats go behind them");
_Static_assert(LIMIT_SNAPSHOT_CHUNK_BYTES * LIMIT_SNAPSHOT_CHUNKS <= LIMIT_PEER_ROOM_BYTES,
	       "a snapshot leaves room for entries and heartbeats");
_Static_assert(LIMIT_KEY_INLINE_BYTES + 2 + 12 <= 511, "an encoded key fits LMDB's 511 bytes");
_Static_assert(LIMIT_REQUEST_BYTES + 64u * KIB <= LIMIT_WAL_ENTRY_BYTES, "a request fits a log entry");
_Static_assert(LIMIT_WAL_ENTRY_BYTES + 64u * KIB <= LIMIT_WAL_BATCH_BYTES, "an entry fits a batch");
_Static_assert(LIMIT_WAL_BATCH_BYTES + 64u * KIB <= LIMIT_WAL_SEGMENT_BYTES, "a batch fits a segment");
_Static_assert(LIMIT_TXN_TREE_OPS >= 3 * LIMIT_TXN_OPS, "what is not nested is bounded by LIMIT_TXN_OPS");
_Static_assert(LIMIT_TXN_ROWS >= 8 * LIMIT_TXN_TREE_OPS, "operations alone never use up the rows");
_Static_assert(LIMIT_LEASE_KEYS <= LIMIT_TXN_ROWS, "the end of a lease is no more work than a transaction");
_Static_assert(LIMIT_LEASE_MARKS * 32u <= LIMIT_REQUEST_BYTES, "a checkpoint fits an entry");
_Static_assert(LIMIT_DEDUP_ROWS >= 8 * LIMIT_GATEWAY_PROPOSALS,
	       "the commands in flight of 8 gateways are all remembered");
_Static_assert(LIMIT_TXN_TREE_OPS * 32 <= LIMIT_HTTP_VALUES, "the largest transaction can be said as JSON");
_Static_assert(LIMIT_REQUEST_BYTES + 64u * KIB <= LIMIT_CONN_MESSAGE_BYTES,
	       "a request a little too large is told so");
_Static_assert(2 * LIMIT_CONN_MESSAGE_BYTES + LIMIT_H2_STREAM_WINDOW <= LIMIT_H2_IN_BYTES,
	       "a connection can hold two of the largest requests");
_Static_assert(LIMIT_CONN_WATCHES + LIMIT_H2_STREAMS <= LIMIT_GATEWAY_WATCHES, "one connection does not use up all");
_Static_assert(LIMIT_CONN_WATCH_BYTES >= 8 * LIMIT_REQUEST_BYTES &&
	       LIMIT_CONN_WATCH_BYTES <= LIMIT_GATEWAY_WATCH_BYTES && LIMIT_GATEWAY_WATCH_BYTES <= LIMIT_WATCH_BYTES,
	       "the longest keys can be watched, and one connection does not use up all");
_Static_assert(LIMIT_CONN_OUT_LOW < LIMIT_CONN_OUT_HIGH && LIMIT_CONN_OUT_HIGH < LIMIT_CONN_OUT_MAX,
	       "water marks");
_Static_assert(LIMIT_FRAME_BYTES < LIMIT_CONN_OUT_MAX, "one result always fits");
_Static_assert(LIMIT_GATEWAY_SORT_BYTES <= LIMIT_GATEWAY_WORK_BYTES &&
	       LIMIT_TXN_RESPONSE_BYTES <= LIMIT_GATEWAY_WORK_BYTES, "one read always fits");
_Static_assert(LIMIT_GATEWAY_KEEP_BYTES + LIMIT_REQUEST_BYTES + 64u * KIB <= LIMIT_CONN_OUT_MAX,
	       "what is kept, the pair that goes over it included, is no answer to be thrown away");
_Static_assert(2 * (LIMIT_GATEWAY_KEEP_BYTES + LIMIT_REQUEST_BYTES) <= LIMIT_GATEWAY_KEPT_BYTES &&
	       LIMIT_GATEWAY_KEPT_BYTES <= LIMIT_GATEWAY_WORK_BYTES, "some reads can keep what they have read");
_Static_assert(LIMIT_WATCH_SLICE_BYTES + 2 * LIMIT_REQUEST_BYTES + 512u * KIB <= LIMIT_FRAME_BYTES,
	       "a slice and the largest event with the pair before it fit a frame");
_Static_assert(LIMIT_WATCH_LINK_BYTES + LIMIT_FRAME_BYTES <= LIMIT_LINK_QUEUE_BYTES,
	       "events never fill the link");
_Static_assert(LIMIT_WATCH_SLICE_EVENTS <= LIMIT_BATCH_ITEMS, "a slice's events fit a message");
_Static_assert(LIMIT_WATCH_CUT_ROWS <= LIMIT_VIEW_ROWS, "a slice is read in one view");
_Static_assert(LIMIT_CONN_WATCHES <= LIMIT_WATCH_REFS, "a client's watches fit one message");
_Static_assert(LIMIT_TXN_RESPONSE_BYTES + 1u * MIB <= LIMIT_CLIENT_RESPONSE_BYTES,
	       "the client takes what a transaction may answer");
_Static_assert(LIMIT_REQUEST_BYTES * 2 <= LIMIT_CLIENT_QUEUE_BYTES, "two requests fit a queue");

#endif
