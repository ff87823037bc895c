/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results on standard output, in the shapes of etcdctl: "simple" for people and pipes, "json" as
 * Go's encoding of etcd's structs (bytes in base64, 64-bit numbers as numbers), "fields" as
 * `"Name" : value` lines. A format is one struct printer.
 */
#ifndef QUORATE_CTL_PRINT_H
#define QUORATE_CTL_PRINT_H

#include "ctl/ctl.h"

struct printer {
	void (*put)(struct ctl *ctl, const struct kv_put_result *r);
	void (*del)(struct ctl *ctl, const struct kv_delete_result *r);
	void (*txn)(struct ctl *ctl, const struct kv_txn_result *r);
	/* A range as it arrives: `head` without pairs, then each pair, then the end. */
	void (*range_begin)(struct ctl *ctl, const struct kv_range_result *head);
	void (*range_pair)(struct ctl *ctl, const struct kv_pair *pair, bool first);
	void (*range_end)(struct ctl *ctl, const struct kv_range_result *head, bool any);
	/* Events of a watch; h: of the server, with the revision of the notification. */
	void (*watch)(struct ctl *ctl, const struct kv_header *h, const struct watch_event *v, size_t n);
	void (*members)(struct ctl *ctl, const struct native_members_result *r);
};

extern const struct printer print_simple, print_json, print_fields;

/* NULL with the error printed if the format is not one for this: "table" is for lists of nodes. */
const struct printer *print_of(struct ctl *ctl, int *exit_code);

/* Pieces shared by files that print JSON of their own. */
void print_json_header(struct ctl *ctl, const struct kv_header *h);   /* "header":{...} */
void print_json_str(FILE *out, const char *name, struct bytes v);     /* "name":"text" */

/* A table as etcdctl draws it: headings in capitals, cells aligned to the right. */
struct table;
struct table *table_new(size_t columns, const char *const *headings);
/* The next cell, row by row; memory that runs out shows as a table cut short. */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(FILE *out, const struct table *t);
void table_free(struct table **t);

#endif
