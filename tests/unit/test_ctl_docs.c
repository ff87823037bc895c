/* SPDX-License-Identifier: Apache-2.0 */
/* Every command and every flag of the tables is in the manual and in both completions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/tap.h"

static char *read_source(const char *name)
{
	const char *top = getenv("srcdir");
	char path[4096], *text = calloc(1, 262144);
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
	f = fopen(path, "r");
	if (f == NULL)
		printf("# %s is missing\n", path);
	OK(f != NULL && text != NULL);
	OK(fread(text, 1, 262143, f) > 0);
	(void)fclose(f);
	return text;
}

/* The word with something else before and behind it. */
static bool has_word(const char *text, const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t len = strlen(word);

	for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
		if ((at == text || strchr(letters, at[-1]) == NULL || word[0] == '-') &&
		    (at[len] == 0 || strchr(letters, at[len]) == NULL))
			return true;
	return false;
}

static void check(const char *text, const char *file, const char *command, const char *word)
{
	if (!has_word(text, word))
		printf("# %s has no \"%s\" of %s\n", file, word, command);
	OK(has_word(text, word));
}

static void check_all(const char *file, const char *dashes)
{
	char *text = read_source(file), word[128];

	for (const struct flag *f = ctl_global_flags; f->name != NULL; f++) {
		(void)snprintf(word, sizeof word, "%s%s", dashes, f->name);
		check(text, file, "all", word);
	}
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];

		check(text, file, "all", c->name);
		for (const struct flag *f = c->flags; f != NULL && f->name != NULL; f++) {
			(void)snprintf(word, sizeof word, "%s%s", dashes, f->name);
			check(text, file, c->name, word);
		}
	}
	free(text);
}

TEST(the_manual_knows_every_command_and_flag)
{
	check_all("ctl/quorate.1", "Fl -");
}

TEST(both_completions_know_every_command_and_flag)
{
	check_all("etc/completion/quorate.bash", "--");
	check_all("etc/completion/_quorate", "--");
}

TEST(every_command_can_say_what_it_does)
{
	static struct ctl_result got;
	char line[128];

	ctl_run(&got, "127.0.0.1:1", NULL, "help");
	EQ_INT(got.code, 0);
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];

		OK(has_word(got.out, c->name));
		OK(c->summary[0] != 0 && c->run != NULL);
	}
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];
		char *by_help;

		(void)snprintf(line, sizeof line, "help %s", c->name);
		ctl_run(&got, "127.0.0.1:1", NULL, line);
		EQ_INT(got.code, 0);
		by_help = strdup(got.out);
		(void)snprintf(line, sizeof line, "%s --help", c->name);
		ctl_run(&got, "127.0.0.1:1", NULL, line);
		EQ_STR(got.out, by_help);
		free(by_help);
		for (const struct flag *f = c->flags; f != NULL && f->name != NULL; f++) {
			(void)snprintf(line, sizeof line, "--%s", f->name);
			OK(has_word(got.out, line));
		}
	}
}

TEST(durations_are_read_as_people_write_them)
{
	static const struct { const char *text; int64_t ms; } good[] = {
		{"5s", 5000}, {"1m30s", 90000}, {"250ms", 250}, {"1.5s", 1500}, {"2h", 7200000},
		{"0", 0}, {"0s", 0}, {"7", 7000}, {"10us", 1}};
	static const char *const bad[] = {"", "s", "5x", "-5s", "1..5s", "5 s", "99999999999h"};
	int64_t ms;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		EQ_INT(duration_parse(good[i].text, &ms), 0);
		EQ_INT(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		OK(duration_parse(bad[i], &ms) != 0);
}

TEST(the_environment_stands_for_global_flags)
{
	static struct ctl_result got;

	OK(setenv("QUORATE_DIAL_TIMEOUT", "nonsense", 1) == 0);
	ctl_run(&got, "127.0.0.1:1", NULL, "version");
	EQ_INT(got.code, CTL_BAD_ARGS);
	OK(strstr(got.err, "QUORATE_DIAL_TIMEOUT") != NULL);
	OK(setenv("QUORATE_DIAL_TIMEOUT", "50ms", 1) == 0);
	OK(setenv("QUORATE_WRITE_OUT", "json", 1) == 0);
	ctl_run(&got, "127.0.0.1:1", NULL, "version");
	OK(got.out[0] == '{');
	ctl_run(&got, "127.0.0.1:1", NULL, "version -w simple");
	OK(got.out[0] == 'q');
	(void)unsetenv("QUORATE_DIAL_TIMEOUT");
	(void)unsetenv("QUORATE_WRITE_OUT");
}

TESTS = {
	T(the_manual_knows_every_command_and_flag),
	T(both_completions_know_every_command_and_flag),
	T(every_command_can_say_what_it_does),
	T(durations_are_read_as_people_write_them),
	T(the_environment_stands_for_global_flags),
};
TAP_MAIN
