/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "rt/config_table.h"

static void config_write_row(struct buf *out, const struct config *c, const struct config_row *row)
{
	char number[24];
	const char *value = number;

	buf_printf(out, "\n# %s", row->help);
	if (row->kind == CONFIG_U64) {
		(void)snprintf(number, sizeof number, "%" PRIu64,
			       *(const uint64_t *)(const void *)((const char *)c + row->offset));
		if (row->max != UINT64_MAX)
			buf_printf(out, " (%" PRIu64 " to %" PRIu64 ")", row->min, row->max);
	} else {
		value = *(char *const *)(const void *)((const char *)c + row->offset);
		CHECK(config_is_writable(value));
	}
	buf_printf(out, "\n%s%s =%s%s\n", strcmp(value, row->def) == 0 ? "#" : "", row->key,
		   value[0] ? " " : "", value);
}

static void config_write_member(struct buf *out, const struct config_member *m)
{
	buf_printf(out, "member = %" PRIu64 " %s %s %s ", m->id, m->name, m->peer_addr,
		   m->client_addr[0] != 0 ? m->client_addr : "-");
	for (size_t i = 0; i < sizeof m->key; i++)
		buf_printf(out, "%02x", m->key[i]);
	buf_u8(out, '\n');
}

void config_write(struct buf *out, const struct config *c)
{
	buf_str(out, "# Configuration of a Quorate node, read by all its daemons; see quorate.conf(5).\n"
		     "# Comments stand on lines of their own. A setting left out, or behind a #, has the\n"
		     "# default that is shown.\n");
	for (size_t i = 0; i < config_n_rows; i++)
		config_write_row(out, c, &config_rows[i]);
	buf_str(out, "\n# The voters the cluster begins with, this node included; the same on all nodes:\n"
		     "# member = ID NAME PEER_ADDRESS CLIENT_ADDRESS PUBLIC_KEY_HEX\n");
	for (size_t i = 0; i < c->n_members; i++)
		config_write_member(out, &c->members[i]);
}
