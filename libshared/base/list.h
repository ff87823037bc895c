/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of structs that embed their link: no allocation, removal without a search. A head is a
 * link too. A link that is in no list points at itself, so that removing it again does no harm.
 */
#ifndef QUORATE_LIST_H
#define QUORATE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l;
	l->next = l;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* Of a link that list_init has seen: is it in a list? */
static inline bool list_linked(const struct list *l)
{
	return l->next != l;
}

static inline void list_insert_before(struct list *at, struct list *l)
{
	l->prev = at->prev;
	l->next = at;
	at->prev->next = l;
	at->prev = l;
}

static inline void list_push(struct list *head, struct list *l)        /* at the end */
{
	list_insert_before(head, l);
}

static inline void list_push_front(struct list *head, struct list *l)
{
	list_insert_before(head->next, l);
}

static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline struct list *list_first(const struct list *head)         /* or NULL */
{
	return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop(struct list *head)                 /* the first, or NULL */
{
	struct list *l = list_first(head);

	if (l != NULL)
		list_remove(l);
	return l;
}

/* Appends all of `from` to `to`; `from` is empty then. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#endif
