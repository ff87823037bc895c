/* SPDX-License-Identifier: Apache-2.0 */
/* Between conn.c and conn_out.c. */
#ifndef QUORATE_CONN_OWN_H
#define QUORATE_CONN_OWN_H

#include "gatewayd/conn.h"

bool conn_wants_input(const struct conn *c);
void conn_end(struct conn *c);        /* no more requests; closed when all is answered */
void conn_count(struct conn *c);      /* brings the set's sums up to date */
void conn_bury(struct conn_set *s);   /* frees the dead */
void conn_spares_free(struct conn_set *s);
void conn_drop_stalled(struct conn *c);
void conn_dismiss(struct conn *c, const char *reason);       /* closes after one try to write what is there */
/* Something has begun that must come whole in time, else proto's `late`; it has come. */
void conn_begun(struct conn *c);
void conn_came(struct conn *c);
/* Drops whoever but this one holds the most of half-come requests. False: nobody does. */
bool conn_drop_hog(struct conn_set *s, const struct conn *but);

#endif
