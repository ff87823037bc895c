/* SPDX-License-Identifier: Apache-2.0 */
/* The proposals' part of raft_clnt, for raft_clnt.c only. */
#ifndef QUORATE_RAFT_CLNT_PROPOSE_H
#define QUORATE_RAFT_CLNT_PROPOSE_H

#include "clnt/raft_clnt.h"

void raft_propose_init(struct raft_clnt *c);
void raft_propose_free(struct raft_clnt *c);
void raft_propose_refuse(struct raft_clnt *c, const struct raftd_refuse *r, mono_t now);
void raft_propose_undelay(struct raft_clnt *c);   /* refused ones are tried again at once */
bool raft_propose_flush(struct raft_clnt *c, mono_t now);
mono_t raft_propose_due(const struct raft_clnt *c);

#endif
