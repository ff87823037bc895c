/* SPDX-License-Identifier: Apache-2.0 */
/* Between native.c and native_watch.c: the native protocol (docs/native-protocol.md). */
#ifndef QUORATE_GATEWAY_NATIVE_H
#define QUORATE_GATEWAY_NATIVE_H

#include "gatewayd/gateway.h"

method_fn watch_create_method, watch_cancel_method, watch_progress_method;
void native_watch_got(struct gateway *g, struct caller *k, const struct watch_got *got);

#endif
