/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service registry and discovery.
 *
 *	service register web 10.0.0.1:80 "zone a"     until it is stopped
 *	service find web                              who is there, and each change
 *
 * An address is in the list as long as the process that registered it is alive and reaches the
 * cluster: after kill -9 it is gone when its TTL has passed. QUORATE_ENDPOINTS says where to connect.
 */
#include <err.h>
#include <poll.h>
#include <quorate.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>

enum { TTL_S = 3 };

static void check(int rc, const struct quorate_error *e, const char *what)
{
	if (rc != QUORATE_OK)
		errx(1, "%s: %s", what, e->text);
}

/* A descriptor that is readable when we are asked to stop. */
static int stop_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);      /* before the library makes its threads */
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void run_register(struct quorate *q, int stop, const char *service, const char *address, const char *about)
{
	struct quorate_service_options o = QUORATE_SERVICE_OPTIONS_INIT;
	struct pollfd p = {.fd = stop, .events = POLLIN};
	struct quorate_registration *r;
	struct quorate_error e;

	o.service = quorate_str(service);
	o.address = quorate_str(address);
	o.metadata = quorate_str(about);
	o.ttl = TTL_S;
	check(quorate_register(q, &o, 0, &r, &e), &e, "register");
	printf("registered\n");
	fflush(stdout);
	/* Here a server would serve. The registration needs no help: it is kept alive, and made again if
	 * it was lost, by a thread of its own. */
	while (poll(&p, 1, -1) < 0)
		;
	check(quorate_registration_close(r, 0, &e), &e, "unregister");
}

static void print_list(const struct quorate_addresses *list)
{
	printf("%zu:", list->n);
	for (size_t i = 0; i < list->n; i++)
		printf(" %s (%s)", list->v[i].address, list->v[i].metadata);
	printf("\n");
	fflush(stdout);
}

static void run_find(struct quorate *q, int stop, const char *service)
{
	struct quorate_resolver *rs;
	struct quorate_addresses *list;
	struct quorate_error e;
	struct pollfd p[2] = {{.fd = stop, .events = POLLIN}, {.events = POLLIN}};

	check(quorate_resolver_open(q, quorate_str(service), 0, &rs, &e), &e, "find");
	p[1].fd = quorate_resolver_fd(rs);
	while ((p[0].revents & POLLIN) == 0) {
		if (quorate_resolver_next(rs, 0, &list, &e) == QUORATE_OK) {
			print_list(list);
			quorate_addresses_free(list);
		}
		poll(p, 2, -1);
	}
	quorate_resolver_close(rs);
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	int stop = stop_fd();

	o.endpoints = getenv("QUORATE_ENDPOINTS");
	check(quorate_open(&o, &q, &e), &e, "open");
	if (argc == 5 && strcmp(argv[1], "register") == 0)
		run_register(q, stop, argv[2], argv[3], argv[4]);
	else if (argc == 3 && strcmp(argv[1], "find") == 0)
		run_find(q, stop, argv[2]);
	else
		errx(100, "usage: service register SERVICE ADDRESS ABOUT | service find SERVICE");
	quorate_close(q);
	return 0;
}
