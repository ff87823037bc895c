/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: whole or not at all, nobody else's business, and nothing but 64 digits is a key. */
#include "rt/keyfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/tap.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1efF"
#define HEX_LOWER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"

static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	(void)snprintf(path, sizeof path, "%s/%s", tap_dir(), name);
	return path;
}

static void put_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	OK(f != NULL);
	OK(fputs(text, f) >= 0 && fclose(f) == 0);
	OK(chmod(path, mode) == 0);
}

static int load(const char *path, uint8_t *key)
{
	const char *why = NULL;
	int rc = keyfile_load(path, key, &why);

	OK(why != NULL && (strcmp(why, "ok") == 0) == (rc == ERR_OK));
	return rc;
}

static int save(const char *path, const uint8_t *key, enum keyfile_mode mode)
{
	const char *why = NULL;
	int rc = keyfile_save(path, key, mode, &why);

	OK(why != NULL && (strcmp(why, "ok") == 0) == (rc == ERR_OK));
	return rc;
}

/* A refused load leaves the caller's key alone. */
static void load_gives(const char *path, int want)
{
	uint8_t key[KEY_LEN] = {7}, before[KEY_LEN] = {7};

	EQ_INT(load(path, key), want);
	EQ_MEM(key, before, KEY_LEN);
}

static int files_in_dir(void)
{
	DIR *d = opendir(tap_dir());
	int n = 0;

	OK(d != NULL);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	OK(closedir(d) == 0);
	return n;
}

static void hex_key(uint8_t key[KEY_LEN])
{
	EQ_INT(key_from_hex(bytes_str(HEX), key), ERR_OK);
}

TEST(hex_goes_there_and_back)
{
	uint8_t key[KEY_LEN];
	char hex[KEY_HEX_LEN + 1];

	hex_key(key);
	for (uint8_t i = 0; i < KEY_LEN - 1; i++)
		EQ_INT(key[i], i);
	EQ_INT(key[31], 0xff);
	key_to_hex(key, hex);
	EQ_STR(hex, HEX_LOWER);
}

TEST(only_64_hex_digits_are_a_key)
{
	const char *bad[] = {
		"", "00", HEX "0", HEX "00", HEX "\n", " " HEX, "0x" HEX,
		"00:0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
		"g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1ef ",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1ef",
	};
	uint8_t key[KEY_LEN] = {7}, before[KEY_LEN] = {7};
	char text[KEY_HEX_LEN + 1] = HEX;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		EQ_INT(key_from_hex(bytes_str(bad[i]), key), ERR_MALFORMED);
	text[10] = 0;
	EQ_INT(key_from_hex(bytes_of(text, KEY_HEX_LEN), key), ERR_MALFORMED);
	EQ_INT(key_from_hex(bytes_of(NULL, 0), key), ERR_MALFORMED);
	EQ_MEM(key, before, KEY_LEN);
}

TEST(keys_compare_by_every_byte)
{
	uint8_t a[KEY_LEN], b[KEY_LEN], zeros[KEY_LEN] = {0};

	hex_key(a);
	for (size_t i = 0; i < KEY_LEN; i++) {
		memcpy(b, a, KEY_LEN);
		OK(key_equal(a, b));
		b[i] ^= 0x80;
		OK(!key_equal(a, b));
	}
	key_wipe(a);
	EQ_MEM(a, zeros, KEY_LEN);
}

TEST(generated_keys_differ)
{
	uint8_t a[KEY_LEN] = {0}, b[KEY_LEN] = {0}, zeros[KEY_LEN] = {0};

	key_generate(a);
	key_generate(b);
	OK(!key_equal(a, b));
	OK(!key_equal(a, zeros));
}

/* The base point of RFC 7748 section 4.1 has u = 9: the X25519 of a key and 9 is its public key. */
TEST(a_public_key_is_the_x25519_of_the_secret_and_the_base_point)
{
	static const uint8_t want[KEY_LEN] = {
		0x82, 0x1e, 0x54, 0x50, 0xf3, 0x61, 0x02, 0x07,
		0x2c, 0xc8, 0x74, 0x09, 0x14, 0xa0, 0xde, 0xbf,
		0x58, 0x47, 0x4a, 0x40, 0x8c, 0x20, 0x4f, 0xe2,
		0x74, 0x50, 0xe7, 0x99, 0xc9, 0xcc, 0xc2, 0x35,
	};
	uint8_t secret[KEY_LEN], public[KEY_LEN];

	hex_key(secret);
	key_public(secret, public);
	EQ_MEM(public, want, KEY_LEN);
}

TEST(a_saved_key_is_loaded_again)
{
	const char *path = path_of("key");
	uint8_t key[KEY_LEN], got[KEY_LEN];
	char text[128] = {0};
	FILE *f;

	hex_key(key);
	EQ_INT(save(path, key, KEYFILE_NEW), ERR_OK);
	EQ_INT(load(path, got), ERR_OK);
	EQ_MEM(got, key, KEY_LEN);
	f = fopen(path, "r");
	OK(f != NULL);
	EQ_INT(fread(text, 1, sizeof text - 1, f), KEY_HEX_LEN + 1);
	OK(fclose(f) == 0);
	EQ_STR(text, HEX_LOWER "\n");
	EQ_INT(files_in_dir(), 1);
}

TEST(a_saved_key_has_mode_0600_whatever_the_umask)
{
	static const mode_t masks[] = {0, 022, 0777};
	const char *path = path_of("key");
	uint8_t key[KEY_LEN] = {1};
	struct stat st;

	for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
		(void)tap_dir();
		mode_t before = umask(masks[i]);
		int rc = save(path, key, KEYFILE_REPLACE);

		(void)umask(before);
		EQ_INT(rc, ERR_OK);
		OK(stat(path, &st) == 0);
		EQ_INT(st.st_mode & 07777, 0600);
	}
}

TEST(a_path_without_a_directory_means_the_current_one)
{
	uint8_t key[KEY_LEN] = {1}, got[KEY_LEN];
	int before = open(".", O_RDONLY | O_DIRECTORY);
	int saved = -1, loaded = -1;

	OK(before >= 0 && chdir(tap_dir()) == 0);
	saved = save("key", key, KEYFILE_NEW);
	loaded = load("key", got);
	OK(fchdir(before) == 0 && close(before) == 0);
	EQ_INT(saved, ERR_OK);
	EQ_INT(loaded, ERR_OK);
	EQ_INT(load(path_of("key"), got), ERR_OK);
}

TEST(a_new_key_never_replaces_one)
{
	const char *path = path_of("key");
	uint8_t first[KEY_LEN] = {1}, second[KEY_LEN] = {2}, got[KEY_LEN];

	EQ_INT(save(path, first, KEYFILE_NEW), ERR_OK);
	EQ_INT(save(path, second, KEYFILE_NEW), ERR_EXISTS);
	EQ_INT(load(path, got), ERR_OK);
	EQ_MEM(got, first, KEY_LEN);
	EQ_INT(save(path, second, KEYFILE_REPLACE), ERR_OK);
	EQ_INT(load(path, got), ERR_OK);
	EQ_MEM(got, second, KEY_LEN);
	EQ_INT(files_in_dir(), 1);
}

TEST(a_new_key_does_not_follow_a_dangling_link)
{
	uint8_t key[KEY_LEN] = {1};

	OK(symlink("elsewhere", path_of("key")) == 0);
	EQ_INT(save(path_of("key"), key, KEYFILE_NEW), ERR_EXISTS);
	EQ_INT(access(path_of("elsewhere"), F_OK), -1);
	EQ_INT(files_in_dir(), 1);
}

/* The disk takes only 10 bytes: the old key stays, and no half of the new one. */
TEST(a_failed_write_leaves_the_old_key_and_nothing_else)
{
	const char *path = path_of("key");
	uint8_t first[KEY_LEN] = {1}, second[KEY_LEN] = {2}, got[KEY_LEN];
	struct rlimit before, small;
	int rc;

	EQ_INT(save(path, first, KEYFILE_NEW), ERR_OK);
	OK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	small = before;
	small.rlim_cur = 10;
	(void)signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	rc = save(path, second, KEYFILE_REPLACE);
	OK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	(void)signal(SIGXFSZ, SIG_DFL);
	EQ_INT(rc, ERR_IO);
	EQ_INT(load(path, got), ERR_OK);
	EQ_MEM(got, first, KEY_LEN);
	EQ_INT(files_in_dir(), 1);
}

TEST(a_missing_directory_is_named)
{
	char longest[PATH_MAX + 1];
	uint8_t key[KEY_LEN] = {1};

	EQ_INT(save(path_of("no/key"), key, KEYFILE_NEW), ERR_NOT_FOUND);
	memset(longest, 'a', sizeof longest);
	longest[sizeof longest - 1] = 0;
	EQ_INT(save(longest, key, KEYFILE_NEW), ERR_LIMIT);
	longest[PATH_MAX - 8] = 0;
	EQ_INT(save(longest, key, KEYFILE_NEW), ERR_IO);
	put_file(path_of("file"), "", 0600);
	EQ_INT(save(path_of("file/key"), key, KEYFILE_NEW), ERR_IO);
}

TEST(a_file_open_to_others_is_refused)
{
	const char *path = path_of("key");
	uint8_t key[KEY_LEN];

	put_file(path, HEX "\n", 0600);
	for (mode_t mode = 0400; mode <= 07777; mode = (mode + 1) | 0400) {   /* readable by us */
		OK(chmod(path, mode) == 0);
		if ((mode & 07177) != 0)
			load_gives(path, ERR_CONFIG);
	}
	OK(chmod(path, 0400) == 0);
	EQ_INT(load(path, key), ERR_OK);
}

TEST(only_a_plain_file_is_read)
{
	put_file(path_of("key"), HEX "\n", 0600);
	OK(symlink("key", path_of("link")) == 0);
	load_gives(path_of("link"), ERR_CONFIG);
	OK(mkdir(path_of("dir"), 0600) == 0);
	load_gives(path_of("dir"), ERR_CONFIG);
	OK(mkfifo(path_of("fifo"), 0600) == 0);
	load_gives(path_of("fifo"), ERR_CONFIG);
	load_gives(path_of("none"), ERR_NOT_FOUND);
	load_gives(path_of("key/key"), ERR_IO);
	EQ_INT(errno, ENOTDIR);
}

TEST(a_file_of_any_other_content_is_malformed)
{
	const char *bad[] = {
		"", "\n", HEX, HEX " ", HEX "\r\n", HEX "\n\n", ("\n" HEX),
		(HEX "\n" HEX "\n"),
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1ef\n",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff0\n",
		"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		put_file(path_of("key"), bad[i], 0600);
		load_gives(path_of("key"), ERR_MALFORMED);
	}
}

TESTS = {
	T(hex_goes_there_and_back),
	T(only_64_hex_digits_are_a_key),
	T(keys_compare_by_every_byte),
	T(generated_keys_differ),
	T(a_public_key_is_the_x25519_of_the_secret_and_the_base_point),
	T(a_saved_key_is_loaded_again),
	T(a_saved_key_has_mode_0600_whatever_the_umask),
	T(a_path_without_a_directory_means_the_current_one),
	T(a_new_key_never_replaces_one),
	T(a_new_key_does_not_follow_a_dangling_link),
	T(a_failed_write_leaves_the_old_key_and_nothing_else),
	T(a_missing_directory_is_named),
	T(a_file_open_to_others_is_refused),
	T(only_a_plain_file_is_read),
	T(a_file_of_any_other_content_is_malformed),
};
TAP_MAIN
