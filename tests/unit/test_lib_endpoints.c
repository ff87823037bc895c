/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints of libquorate: which are used, and which passed over. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

TEST(a_dead_endpoint_and_a_name_that_is_not_found_are_passed_over)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	char dead[80], list[160];
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	fake_dead_endpoint(dead, sizeof dead);
	(void)snprintf(list, sizeof list, "no-such-host.invalid:1,%s", dead);
	q = world_open(list, play_endpoint(&p), NULL);
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_STR(e.endpoint, play_endpoint(&p));
	quorate_close(q);
	play_stop(&p);
}

TEST(who_cannot_be_reached_is_said_with_the_reason)
{
	char dead[64];
	struct quorate_error e;
	struct quorate *q;

	fake_dead_endpoint(dead, sizeof dead);
	q = world_open(dead, NULL, NULL);
	EQ_INT(world_put(q, 120, 0, &e), QUORATE_ERR_CLOSED);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_STR(e.endpoint, dead);
	EQ_STR(e.text, "Connection refused");
	quorate_close(q);
}

TEST(a_server_that_never_says_who_it_is_gets_no_write)
{
	struct fake_setup deaf = {.deaf = true};
	struct fake_server *f = fake_start(&deaf);
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	q = world_open(fake_endpoint(f), play_endpoint(&p), NULL);
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_STR(e.endpoint, play_endpoint(&p));
	quorate_close(q);
	play_stop(&p);
	fake_stop(&f);
}

static bool later_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct native_version_result version = {bytes_str("9.9.9"), *(uint64_t *)arg};
	struct kv_put_result put = {0};

	fake_result(c, r, strcmp(r->method->name, "version") == 0 ? (void *)&version : (void *)&put);
	return true;
}

TEST(a_later_protocol_is_understood_and_an_older_one_is_not)
{
	for (uint64_t protocol = 0; protocol < 3; protocol++) {
		struct fake_setup s = {.serve = later_serve, .arg = &protocol, .own_version = true};
		struct fake_server *f = fake_start(&s);
		struct quorate *q = world_open(fake_endpoint(f), NULL, NULL);
		struct quorate_error e;

		EQ_INT(world_put(q, 100, 0, &e), protocol > 0 ? QUORATE_OK : QUORATE_ERR_CLOSED);
		OK(protocol > 0 || strstr(e.text, "version") != NULL);
		quorate_close(q);
		fake_stop(&f);
	}
}

/* A listener whose queue is full: the kernel drops what comes, and a connect hangs. */
struct hanging {
	int listener, queued[8];
	char endpoint[64];
};

static void hanging_open(struct hanging *h)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;

	h->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	OK(bind(h->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(h->listener, 0) == 0);
	OK(getsockname(h->listener, (struct sockaddr *)&a, &len) == 0);
	(void)snprintf(h->endpoint, sizeof h->endpoint, "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
	for (size_t i = 0; i < 8; i++) {
		h->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(h->queued[i], (struct sockaddr *)&a, sizeof a);
	}
}

static void hanging_close(struct hanging *h)
{
	for (size_t i = 0; i < 8; i++)
		(void)close(h->queued[i]);
	(void)close(h->listener);
}

TEST(an_endpoint_that_hangs_is_passed_over)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	struct hanging h;
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	hanging_open(&h);
	q = world_open(h.endpoint, NULL, NULL);
	EQ_INT(world_put(q, 100, 0, &e), QUORATE_ERR_CLOSED);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	quorate_close(q);
	q = world_open(h.endpoint, play_endpoint(&p), NULL);
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_STR(e.endpoint, play_endpoint(&p));
	quorate_close(q);
	hanging_close(&h);
	play_stop(&p);
}

TEST(without_a_descriptor_nothing_is_reached_until_there_is_one_again)
{
	struct play p = {.acts = {ACT_OK}};
	struct rlimit normal, none;
	struct quorate_error e;
	struct quorate *q;
	int lowest;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	lowest = dup(0);
	OK(lowest > 0 && close(lowest) == 0 && getrlimit(RLIMIT_NOFILE, &normal) == 0);
	none = (struct rlimit){(rlim_t)lowest, normal.rlim_max};
	OK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	(void)world_put(q, 60, 0, &e);
	OK(setrlimit(RLIMIT_NOFILE, &normal) == 0);
	EQ_INT(e.code, QUORATE_ERR_CLOSED);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_STR(e.text, "Too many open files");
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_server_that_has_gone_silent_is_left)
{
	struct play a = {.acts = {ACT_SILENT}, .dead_pings = true};
	struct play b = {.acts = {ACT_OK}, .revision = 9};
	struct quorate_error e;
	struct quorate *q;
	int64_t rev;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	EQ_INT(world_get(q, QUORATE_FOREVER, &rev, &e), QUORATE_OK);
	EQ_INT(rev, 9);
	EQ_STR(e.endpoint, play_endpoint(&b));
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TEST(an_endpoint_can_be_chosen)
{
	struct play a = {.acts = {ACT_OK}, .revision = 1}, b = {.acts = {ACT_OK}, .revision = 2};
	struct quorate_op op = quorate_op(QUORATE_STATUS);
	struct quorate_result *r;
	struct quorate_error e;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	op.endpoint = play_endpoint(&b);
	EQ_INT(quorate_call(q, &op, 0, &r, &e), QUORATE_OK);
	EQ_INT(r->header.revision, 2);
	EQ_STR(r->status->role, "leader");
	quorate_result_free(r);
	EQ_INT(fake_requests(a.server), 0);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TEST(an_endpoint_can_be_chosen_as_it_was_given)
{
	struct play p = {.acts = {ACT_OK}, .revision = 1};
	struct quorate_op op = quorate_op(QUORATE_STATUS);
	struct quorate_error e;
	struct quorate *q;
	char given[80], list[88];

	play_start(&p);
	(void)snprintf(given, sizeof given, "http://%s/", play_endpoint(&p));
	(void)snprintf(list, sizeof list, " %s ", given);
	q = world_open(list, NULL, NULL);
	op.endpoint = given;
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_OK);
	op.endpoint = list;
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_OK);
	EQ_INT(fake_requests(p.server), 2);
	quorate_close(q);
	play_stop(&p);
}

/* For which a thread looks up the name, that only calls have asked for. */
TEST(a_watch_alone_finds_a_server_by_its_name)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_news *news;
	struct quorate_error e;
	struct quorate_watch *w;
	struct quorate *q;
	char list[64];

	play_start(&p);
	(void)snprintf(list, sizeof list, "localhost%s", strrchr(play_endpoint(&p), ':'));
	q = world_open(list, NULL, NULL);
	o.key = quorate_str("key");
	EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_OK);
	EQ_INT(quorate_watch_next(w, 3000, &news, &e), QUORATE_OK);
	OK(news != NULL && news->kind == QUORATE_BEGUN);
	quorate_news_free(news);
	quorate_watch_close(w);
	quorate_close(q);
	play_stop(&p);
}

/* A resolver that knows one name, and that no longer once it has been asked. */
static atomic_uint looked_up;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
	if (strcmp(host, "once.test") != 0 || (hints->ai_flags & AI_NUMERICHOST) != 0)
		return __real_getaddrinfo(host, port, hints, found);
	return atomic_fetch_add(&looked_up, 1) == 0 ? __real_getaddrinfo("127.0.0.1", port, hints, found) : EAI_AGAIN;
}

static bool let_in_later(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct native_version_result version = {bytes_str("fake"), 1};
	struct kv_put_result put = {0};
	atomic_bool *open = arg;

	if (!atomic_load(open))
		return false;
	fake_result(c, r, strcmp(r->method->name, "version") == 0 ? (void *)&version : (void *)&put);
	return true;
}

TEST(an_address_is_kept_while_its_name_cannot_be_looked_up)
{
	atomic_bool open = false;
	struct fake_setup s = {.serve = let_in_later, .arg = &open, .own_version = true};
	struct fake_server *f = fake_start(&s);
	struct quorate_error e;
	struct quorate *q;
	char list[64];

	(void)snprintf(list, sizeof list, "once.test%s", strrchr(fake_endpoint(f), ':'));
	q = world_open(list, NULL, NULL);
	EQ_INT(world_put(q, 100, 0, &e), QUORATE_ERR_CLOSED);
	while (atomic_load(&looked_up) < 2)
		EQ_INT(world_put(q, 100, 0, &e), QUORATE_ERR_CLOSED);
	EQ_INT(world_put(q, 100, 0, &e), QUORATE_ERR_CLOSED);   /* by now it has heard that there is no such name */
	atomic_store(&open, true);
	EQ_INT(world_put(q, 4000, 0, &e), QUORATE_OK);
	EQ_STR(e.endpoint, list);
	quorate_close(q);
	fake_stop(&f);
}

static bool turn_away(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	(void)arg;
	(void)c;
	(void)r;
	return false;
}

TEST(an_endpoint_that_is_given_twice_rests_all_the_same)
{
	struct fake_setup s = {.serve = turn_away, .own_version = true};
	struct fake_server *f = fake_start(&s);
	struct quorate *q = world_open(fake_endpoint(f), fake_endpoint(f), NULL);
	struct quorate_error e;

	EQ_INT(world_put(q, 300, 0, &e), QUORATE_ERR_CLOSED);
	OK(fake_accepted(f) <= 20);
	quorate_close(q);
	fake_stop(&f);
}

static bool say_goodbye(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	static const char words[] = "\x93\x02\xa5" "error" "\x93\x22\xa8" "too many" "\x01";

	(void)arg;
	(void)r;
	fake_bytes(c, bytes_of(words, sizeof words - 1));
	(void)fake_flush(c);
	return false;
}

TEST(who_is_one_too_many_is_told_so)
{
	struct fake_setup s = {.serve = say_goodbye, .own_version = true};
	struct fake_server *f = fake_start(&s);
	struct quorate *q = world_open(fake_endpoint(f), NULL, NULL);
	struct quorate_error e;

	EQ_INT(world_put(q, 100, 0, &e), QUORATE_ERR_CLOSED);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_STR(e.text, "too many");
	quorate_close(q);
	fake_stop(&f);
}

TEST(the_leaders_node_is_found_and_used)
{
	struct play a = {.acts = {ACT_OK}, .revision = 1, .member_id = 7};
	struct play b = {.acts = {ACT_OK}, .revision = 2};
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	int64_t rev;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), &o);
	EQ_INT(world_get(q, 0, &rev, &e), QUORATE_OK);
	EQ_INT(rev, 1);
	WORLD_UNTIL(world_get(q, 0, &rev, &e) == QUORATE_OK && rev == 2);
	EQ_STR(e.endpoint, play_endpoint(&b));
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_STR(e.endpoint, play_endpoint(&b));
	EQ_INT(fake_accepted(a.server), 1);
	EQ_INT(fake_accepted(b.server), 1);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TEST(the_leaders_node_is_found_by_a_client_that_is_idle)
{
	struct play a = {.acts = {ACT_OK}, .revision = 1, .member_id = 7};
	struct play b = {.acts = {ACT_OK}, .revision = 2};
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), &o);
	EQ_INT(world_get(q, 0, NULL, NULL), QUORATE_OK);
	(void)world_put(q, 100, 0, NULL);   /* whose end of time wakes it up before it is time to ask */
	WORLD_UNTIL(fake_requests(b.server) > 0);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TESTS = {
	T(a_dead_endpoint_and_a_name_that_is_not_found_are_passed_over),
	T(who_cannot_be_reached_is_said_with_the_reason),
	T(a_server_that_never_says_who_it_is_gets_no_write),
	T(a_later_protocol_is_understood_and_an_older_one_is_not),
	T(an_endpoint_that_hangs_is_passed_over),
	T(without_a_descriptor_nothing_is_reached_until_there_is_one_again),
	T(a_server_that_has_gone_silent_is_left),
	T(an_endpoint_can_be_chosen),
	T(an_endpoint_can_be_chosen_as_it_was_given),
	T(a_watch_alone_finds_a_server_by_its_name),
	T(an_address_is_kept_while_its_name_cannot_be_looked_up),
	T(an_endpoint_that_is_given_twice_rests_all_the_same),
	T(who_is_one_too_many_is_told_so),
	T(the_leaders_node_is_found_and_used),
	T(the_leaders_node_is_found_by_a_client_that_is_idle),
};
TAP_MAIN
