/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every link says of itself, under the numbers 0 to 15; the messages of a link's own list are
 * numbered from LINK_FIRST_MESSAGE. Each direction opens with one hello, sequence number 1. A
 * hello that does not fit is not answered: the connection is closed.
 */
#ifndef QUORATE_LINK_HELLO_H
#define QUORATE_LINK_HELLO_H

#include "proto/msg.h"

#define LINK_MAGIC 0x51756f7261746501u   /* "Quorate", 1 */
enum { LINK_VERSION = 1, LINK_FIRST_MESSAGE = 16 };

#define HELLO_FRAME_FIELDS(F, L, O) \
	F(U64, magic, "LINK_MAGIC") \
	F(U64, version, "LINK_VERSION; another one is refused") \
	F(STR, link, "name of the message list, such as gatewayd-raftd") \
	F(U64, node_id, "both ends belong to one node") \
	F(U64, daemon, "enum daemon_kind of the sender") \
	F(U64, incarnation, "random, never 0, new at each start of the sender") \
	F(U64, resume, "the link's own meaning: an index, a revision, or 0")
MSG_DECLARE(hello_frame, HELLO_FRAME_FIELDS)

#define BEAT_FRAME_FIELDS(F, L, O) \
	F(U64, taken, "frames the sender has taken from this connection so far")
MSG_DECLARE(beat_frame, BEAT_FRAME_FIELDS)

#define LINK_HELLO(M) \
	M(0, hello_frame, "both: the first frame of each direction, and only the first") \
	M(1, beat_frame, "both: after a while of silence")
enum { LINK_HELLO(MSG_LINK_ENUM) };
extern const struct msg_link link_hello_link;

#endif
