/*
 * Doubly linked list whose links live inside its elements. A list never allocates; the list an
 * object is on owns it. An element that is on no list has both links NULL.
 */
#ifndef CREW_LIST_H
#define CREW_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}
#define list_entry(p, type, m) ((type *)(void *)((char *)(p)-offsetof(type, m)))
/* The body may remove `p` itself from the list, no other element. */
#define list_foreach(p, n, head)                                                                   \
	for (struct list *p = (head)->next, *n = p->next; p != (head); p = n, n = p->next)

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline bool list_linked(const struct list *e)
{
	return e->next != NULL;
}

static inline void list_append(struct list *head, struct list *e)
{
	e->prev = head->prev;
	e->next = head;
	head->prev->next = e;
	head->prev = e;
}

/* Does nothing to an element that is on no list. */
static inline void list_remove(struct list *e)
{
	if (!e->next)
		return;
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->next = e->prev = NULL;
}

/* First element taken off, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *e = head->next;

	if (e == head)
		return NULL;
	list_remove(e);
	return e;
}

#endif
