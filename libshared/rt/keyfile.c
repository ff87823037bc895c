/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as text and as files, on libsodium (constant-time hex and compare, wiping). */
#include "rt/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"

#define KEYFILE_BYTES (KEY_HEX_LEN + 1)   /* with the newline */

_Static_assert(KEY_LEN == crypto_scalarmult_curve25519_SCALARBYTES, "X25519 secrets");
_Static_assert(KEY_LEN == crypto_scalarmult_curve25519_BYTES, "X25519 public keys");

void key_generate(uint8_t secret[KEY_LEN])
{
	randombytes_buf(secret, KEY_LEN);
}

void key_public(const uint8_t secret[KEY_LEN], uint8_t public[KEY_LEN])
{
	int rc = crypto_scalarmult_curve25519_base(public, secret);

	CHECK(rc == 0);
}

void key_derive(const uint8_t from[KEY_LEN], const char *purpose, struct bytes text, uint8_t to[KEY_LEN])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, from, KEY_LEN, KEY_LEN);
	(void)crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
	(void)crypto_generichash_update(&state, text.data, text.len);
	(void)crypto_generichash_final(&state, to, KEY_LEN);
	sodium_memzero(&state, sizeof state);
}

bool key_equal(const uint8_t a[KEY_LEN], const uint8_t b[KEY_LEN])
{
	return sodium_memcmp(a, b, KEY_LEN) == 0;
}

void key_wipe(uint8_t key[KEY_LEN])
{
	sodium_memzero(key, KEY_LEN);
}

void key_to_hex(const uint8_t key[KEY_LEN], char hex[KEY_HEX_LEN + 1])
{
	sodium_bin2hex(hex, KEY_HEX_LEN + 1, key, KEY_LEN);
}

int key_from_hex(struct bytes hex, uint8_t key[KEY_LEN])
{
	uint8_t bin[KEY_LEN];
	size_t len = 0;
	int rc = ERR_MALFORMED;

	/* Without an `end` pointer anything but hex digits, all of them, is an error. */
	if (hex.len == KEY_HEX_LEN &&
	    sodium_hex2bin(bin, sizeof bin, (const char *)hex.data, hex.len, NULL, &len,
			   NULL) == 0 && len == KEY_LEN) {
		memcpy(key, bin, KEY_LEN);
		rc = ERR_OK;
	}
	sodium_memzero(bin, sizeof bin);
	return rc;
}

static int trouble(const char **why, const char *text, int err)
{
	*why = text;
	return err;
}

/* Looks at the open file, not at the name: nothing can be swapped in between. */
static int check_rights(int fd, const char **why)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return trouble(why, "the key file cannot be looked at", ERR_IO);
	if (!S_ISREG(st.st_mode))
		return trouble(why, "the key file is not a plain file", ERR_CONFIG);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return trouble(why, "the key file belongs to another user", ERR_CONFIG);
	if ((st.st_mode & 07177) != 0)
		return trouble(why, "the key file may be open to others: chmod 600 it", ERR_CONFIG);
	return ERR_OK;
}

/* Up to `cap` bytes, or -1. */
static ssize_t read_all(int fd, uint8_t *out, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = read(fd, out + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int load_from(int fd, uint8_t key[KEY_LEN], const char **why)
{
	uint8_t text[KEYFILE_BYTES + 1];   /* one more, to see that there is no more */
	int rc = check_rights(fd, why);
	ssize_t n;

	if (rc != ERR_OK)
		return rc;
	n = read_all(fd, text, sizeof text);
	if (n < 0)
		rc = trouble(why, "the key file cannot be read", ERR_IO);
	else if (n != (ssize_t)KEYFILE_BYTES || text[KEY_HEX_LEN] != '\n' ||
		 key_from_hex(bytes_of(text, KEY_HEX_LEN), key) != ERR_OK)
		rc = trouble(why, "the key file is not 64 hex digits and a newline", ERR_MALFORMED);
	sodium_memzero(text, sizeof text);
	return rc;
}

int keyfile_load(const char *path, uint8_t key[KEY_LEN], const char **why)
{
	/* O_NONBLOCK: a fifo put there must not stop us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	int rc;

	*why = "ok";
	if (fd < 0) {
		if (errno == ENOENT)
			return trouble(why, "there is no such key file", ERR_NOT_FOUND);
		if (errno == ELOOP)
			return trouble(why, "the key file is a symbolic link", ERR_CONFIG);
		return trouble(why, "the key file cannot be opened", ERR_IO);
	}
	rc = load_from(fd, key, why);
	(void)close(fd);
	return rc;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Opens the directory that holds `path`. */
static int open_dir_of(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

	CHECK(len < sizeof dir);
	memcpy(dir, path, len);
	dir[len] = 0;
	return open(len == 0 ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Writes the key into the new file `fd` and makes it durable; closes fd. */
static bool fill(int fd, const uint8_t key[KEY_LEN])
{
	char text[KEYFILE_BYTES + 1];
	bool good;

	key_to_hex(key, text);
	text[KEY_HEX_LEN] = '\n';
	good = fchmod(fd, 0600) == 0 && write_all(fd, (const uint8_t *)text, KEYFILE_BYTES) &&
	       fsync(fd) == 0;
	sodium_memzero(text, sizeof text);
	return (close(fd) == 0) && good;
}

/* Gives the finished file its name. A link never replaces what is there; a rename does. */
static int publish(const char *tmp, const char *path, enum keyfile_mode mode, const char **why)
{
	if (mode == KEYFILE_REPLACE) {
		if (rename(tmp, path) != 0)
			return trouble(why, "the key file cannot be replaced", ERR_IO);
		return ERR_OK;
	}
	if (link(tmp, path) != 0) {
		if (errno == EEXIST)
			return trouble(why, "there is a key file already", ERR_EXISTS);
		return trouble(why, "the key file cannot be made", ERR_IO);
	}
	if (unlink(tmp) != 0)
		return trouble(why, "a left-over of the key file cannot be removed", ERR_IO);
	return ERR_OK;
}

static int save_in(int dir, const char *path, const uint8_t key[KEY_LEN], enum keyfile_mode mode,
		   const char **why)
{
	char tmp[PATH_MAX];
	int fd, rc;

	(void)snprintf(tmp, sizeof tmp, "%s.XXXXXX", path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return trouble(why, "the key file cannot be made", ERR_IO);
	rc = fill(fd, key) ? publish(tmp, path, mode, why) :
			     trouble(why, "the key file cannot be written", ERR_IO);
	if (rc != ERR_OK) {
		int saved = errno;

		(void)unlink(tmp);
		errno = saved;
		return rc;
	}
	if (fsync(dir) != 0)
		return trouble(why, "the key file's directory cannot be synced", ERR_IO);
	return ERR_OK;
}

int keyfile_save(const char *path, const uint8_t key[KEY_LEN], enum keyfile_mode mode,
		 const char **why)
{
	int dir, rc;

	*why = "ok";
	if (strlen(path) + sizeof ".XXXXXX" > PATH_MAX)
		return trouble(why, "the key file's path is too long", ERR_LIMIT);
	dir = open_dir_of(path);
	if (dir < 0 && errno == ENOENT)
		return trouble(why, "the key file's directory is missing", ERR_NOT_FOUND);
	if (dir < 0)
		return trouble(why, "the key file's directory cannot be opened", ERR_IO);
	rc = save_in(dir, path, key, mode, why);
	(void)close(dir);
	return rc;
}
