/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 on the client port: told that it is not spoken. */
#ifndef QUORATE_HTTP1_H
#define QUORATE_HTTP1_H

#include "gatewayd/conn.h"

extern const struct conn_proto http1_proto;

#endif
