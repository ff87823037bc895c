/* SPDX-License-Identifier: Apache-2.0 */
/* The connections to other nodes (raftd/peers.h), faked: see fake_raftd.h. */
#include "base/err.h"
#include "tests/lib/fake_raftd.h"

int peers_send(struct peers *ps, uint64_t id, uint32_t number, const struct msg_desc *d,
	       const void *msg)
{
	struct buf frame;
	int rc = fake.peer_answer[id];

	(void)ps;
	if (rc != ERR_OK)
		return rc;
	buf_init(&frame, 0);
	rc = msg_frame(&frame, number, 1, d, msg);
	fake.bytes_sent[id] += frame.len;
	buf_free(&frame);
	if (rc == ERR_OK)
		fake_say_message("to", id, d, msg);
	return rc;
}

bool peers_room(const struct peers *ps, uint64_t id)
{
	(void)ps;
	return !fake.peer_full[id];
}

unsigned peers_version(const struct peers *ps, uint64_t id)
{
	(void)ps;
	return fake.peer_old[id] ? 1 : PEER_VERSION;
}

void peers_poll(struct peers *ps)
{
	(void)ps;
	fake_say("poll");
}

bool peers_withheld(const struct peers *ps, uint64_t id)
{
	(void)ps;
	(void)id;
	return fake.withheld;
}
