/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may send as HTTP/1.1, through a whole gateway: the first byte says where the stream is
 * cut in two; bit 1 of the second answers commands and watches too. However it ends, nothing of it may
 * be left.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/gateway_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world *fuzz_world(void)
{
	static struct world *w;

	if (w != NULL)
		return w;
	w = world_new(7000);
	for (int i = 0; i < 50; i++)
		small_store_put(&w->store, (char[]){(char)('a' + i % 26), (char)('0' + i / 26), 0}, "v");
	w->n_log += 50;
	world_progress(w);
	return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *w = fuzz_world();
	struct rpc_peer p;

	/* A capital letter begins HTTP; without one it would be the native protocol. */
	if (size < 3 || data[2] < 'A' || data[2] > 'Z')
		return 0;
	w->forgets = !(data[1] & 2) || w->n_log > WORLD_LOG - 1000;
	world_join(w, &p);
	rpc_peer_bytes(&p, data + 2, size - 2);
	rpc_peer_write(&p, data[0] % (size - 2));
	world_turn(w);
	rpc_peer_write(&p, size);
	for (int i = 0; i < 4; i++)
		world_turn(w);
	rpc_peer_close(&p);
	world_turns(w, 3);
	CHECK(w->g.conns.n == 0 && w->g.conns.in_bytes + w->g.conns.out_bytes + w->g.conns.session_bytes == 0);
	CHECK(w->g.watch.n == 0 && list_empty(&w->g.leader_streams));
	if (w->forgets)
		request_drop(&w->g, &w->g.errands);
	return 0;
}
