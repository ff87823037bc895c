/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X25519 keys of 32 bytes, as text and as files: a node's own key, the cluster secret.
 * A key file holds 64 hex digits and a newline, and nobody but its owner may touch it.
 * Any 32 random bytes are a secret key; the public key follows from it.
 */
#ifndef QUORATE_KEYFILE_H
#define QUORATE_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define KEY_LEN 32u
#define KEY_HEX_LEN 64u

/* 32 bytes from the system's generator. */
void key_generate(uint8_t secret[KEY_LEN]);
void key_public(const uint8_t secret[KEY_LEN], uint8_t public[KEY_LEN]);
/*
 * A key that follows from another one, a purpose and a text, and from which neither can be got back:
 * BLAKE2b with `from` as its key over purpose, a NUL and the text. The purpose is a constant of the caller.
 */
void key_derive(const uint8_t from[KEY_LEN], const char *purpose, struct bytes text, uint8_t to[KEY_LEN]);
/* In a time that does not depend on the keys. */
bool key_equal(const uint8_t a[KEY_LEN], const uint8_t b[KEY_LEN]);
void key_wipe(uint8_t key[KEY_LEN]);

/* Lower case, ended by a NUL. */
void key_to_hex(const uint8_t key[KEY_LEN], char hex[KEY_HEX_LEN + 1]);
/* Exactly 64 hex digits of either case, or ERR_MALFORMED and the key is left as it was. */
int key_from_hex(struct bytes hex, uint8_t key[KEY_LEN]);

/*
 * Both give ERR_OK, or an error and in *why a sentence for the operator (static, never NULL):
 *   ERR_NOT_FOUND   no such file (load), no such directory (save)
 *   ERR_EXISTS      save with KEYFILE_NEW: there is one already, untouched
 *   ERR_CONFIG      load: not a plain file, another's, or open to others
 *   ERR_MALFORMED   load: not 64 hex digits and a newline
 *   ERR_LIMIT       save: the path is too long
 *   ERR_IO          the system said no; errno says why
 */
int keyfile_load(const char *path, uint8_t key[KEY_LEN], const char **why);

enum keyfile_mode { KEYFILE_NEW, KEYFILE_REPLACE };

/*
 * Mode 0600 whatever the umask; synced, and so is its directory. After a crash at any point there
 * is the whole new file or what was there before (and maybe a left-over `path.XXXXXX`, mode 0600).
 */
int keyfile_save(const char *path, const uint8_t key[KEY_LEN], enum keyfile_mode mode,
		 const char **why);

#endif
