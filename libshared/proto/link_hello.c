/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_hello.h"

#define MSG_T hello_frame
MSG_DEFINE(HELLO_FRAME_FIELDS)
#undef MSG_T
#define MSG_T beat_frame
MSG_DEFINE(BEAT_FRAME_FIELDS)
#undef MSG_T

static const struct msg_row link_hello_rows[] = {LINK_HELLO(MSG_LINK_ROW)};
const struct msg_link link_hello_link = {"link", link_hello_rows,
	sizeof link_hello_rows / sizeof link_hello_rows[0]};
