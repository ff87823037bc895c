/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raftd/noise.h against what other implementations say.
 *
 * The vectors below are this project's own inputs run through an independent implementation (the
 * Python package noiseprotocol 0.3.1, which gives what the published vectors give), with associated
 * data and with a rekey after every second message of a direction.
 *
 * Published vectors run too if NOISE_VECTORS names a file of them in the same form: vectors.txt of
 * the Go module github.com/flynn/noise has four of this protocol. Blocks of other protocols are
 * passed over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "raftd/noise.h"
#include "rt/keyfile.h"
#include "tests/lib/tap.h"

#define PROTOCOL "Noise_XXpsk0_25519_ChaChaPoly_SHA256"
#define MESSAGES_MAX 16u
#define FIELD_MAX 256u

static const char own_vectors[] =
	"handshake=Noise_XXpsk0_25519_ChaChaPoly_SHA256\n"
	"init_static=53d969e4c3159355b842dbe43e2dfa58e886ac1ba6f2b1480e68ca6002db3132\n"
	"resp_static=2b96a2f0d31cf52de9fba8e9ff7464febb9adaa68eca64a50b01efa77ab6219c\n"
	"gen_init_ephemeral=a981d81cc16ae1ca1e297291f2ccd8ea5d46c0e437e5e9ecb5bebaa451be9a88\n"
	"gen_resp_ephemeral=869c479908b24330be9be528694980c62d1b5ba3aea618ed4907d1aed9ea197b\n"
	"preshared_key=4f242345cbd2da912bc31b2fd0cd30222028f6d8eda4d45cfd72a193235cf7e2\n"
	"msg_0_payload=\n"
	"msg_0_ciphertext=6d1a03ed310aa27a02787c3a0fef87d246d748a26cd26da30dfc2f9e004698774db77"
	"a2389d23963280e2b48bab08c24\n"
	"msg_1_payload=\n"
	"msg_1_ciphertext=9d62c736025b0040441c28601422f4cbf60c00250f11922cdafbb712d3c348427b25b"
	"dc0597c9c17ff7eaf954a0a7747b1dc945280e036aa07bdac695ce7f15b64a7707642e7900430bdc484061"
	"30126e087aa14cdee493d286ef5dac41fbc64\n"
	"msg_2_payload=\n"
	"msg_2_ciphertext=772045076b282d8aff08bb8717ee055d6bcb3448d54fa78c11fe0e7f11981f68f6c56"
	"0b4494af04bcd404365b510a6e089de6e1661fae10271dfe8f6035c295f\n"
	"msg_3_ad=0000000e\n"
	"msg_3_payload=617070656e6420656e7472696573\n"
	"msg_3_ciphertext=3b90e6af9fafa3d4aa2df34235a9cbc15212c6f67646a2d03033c3be1dfe\n"
	"msg_4_ad=00000008\n"
	"msg_4_payload=617070656e646564\n"
	"msg_4_ciphertext=8bef0a027cf0cbec6efb4a2324697111b7138b75f49d1a22\n"
	"msg_5_ad=00000000\n"
	"msg_5_payload=\n"
	"msg_5_ciphertext=353e13036560330460941f13e1c17f63\n"
	"msg_6_ad=00000046\n"
	"msg_6_payload=787878787878787878787878787878787878787878787878787878787878787878787878"
	"78787878787878787878787878787878787878787878787878787878787878787878\n"
	"msg_6_ciphertext=96fb1daab5f72018a89d53de8a411bbb704fdf4a664063d6396d1d81bea2f8378ddcc"
	"e094263ee5ee18669b3d6461d95803846de212403647fe695395ea2e1ef3ee730299bd958a637b69ca84cf"
	"ab6a0b3058084352a\n"
	"handshake_hash=3a2d0822e53656999cbc180a240bb959d5139e309f275098a3a5aec23949f5de\n"
	"\n"
	"handshake=Noise_XXpsk0_25519_ChaChaPoly_SHA256\n"
	"init_static=2086e5705de5b5e35011254115c18d5950f691a279af05408e659e7a00d0b85b\n"
	"resp_static=5edcde881ae1e23b0840b08aa24e68be6e76188b4a2649947d700bdcea36a2bc\n"
	"gen_init_ephemeral=c67ed9b04f9f1c58983c5b2d0992792ac9a13748049e9291c121adccf117990f\n"
	"gen_resp_ephemeral=25a5eb34a98309ed304a1d8e1237fb1f8202cc4a822cc1689c8b4bdce533573a\n"
	"prologue=71756f72617465207065657220313a20636c757374657220372c206e6f6465203120746f206e6"
	"f64652032\n"
	"preshared_key=99e3e9099d4f937adcf0b5e8da47afa3fad48763ba5f3e52d2eac0efacfecdae\n"
	"rekey_messages=2\n"
	"msg_0_payload=68656c6c6f2066726f6d2031\n"
	"msg_0_ciphertext=3a0ba6b200c85ad6014bd520ed9d8f39dcca79113acae3c0b370777775b81a5843257"
	"c0b305886295a3a33a54e89ef49dc9825ed82d4cb7c377fd967\n"
	"msg_1_payload=68656c6c6f2066726f6d2032\n"
	"msg_1_ciphertext=2bec5efa2390e0fa6b2a3c7fab3c5e707a637583a438c84787251ff1a5d84c40d3cef"
	"eab53ee193dfa1bbb5362ab492d53294fb35e8d9255e08a30f0cbe8900157d6aa4d962f3f5553b17879aef"
	"b3f2f676bb7071d6498ef5dc2e53b25a31a4f1f96b277de9a328d3ed630d6\n"
	"msg_2_payload=76657273696f6e2031\n"
	"msg_2_ciphertext=b5ae7b150fe43bc08198c89d8dcd2630e60d69b04bcae221a097591c81983bffd3fe3"
	"98cc9f7fb4c744b45ce664a5d7df0c74bda00007a2a499bc915321869a28d447e6d35006a1050\n"
	"msg_3_ad=0000000e\n"
	"msg_3_payload=7465726d203420696e6465782030\n"
	"msg_3_ciphertext=2a6b22990f80cd839ba7d19a6db366c2f0062c040d6c95ffa591261c3592\n"
	"msg_4_ad=0000000e\n"
	"msg_4_payload=7465726d203420696e6465782031\n"
	"msg_4_ciphertext=acb8642fec75e31298c0a7e8507c627bee67ac22ace736b94a3d546e952c\n"
	"msg_5_ad=0000000e\n"
	"msg_5_payload=7465726d203420696e6465782032\n"
	"msg_5_ciphertext=9412fbec8ca74d74cd4311aeb207c9a450445c944d54ad2a8775002378ba\n"
	"msg_6_ad=0000000e\n"
	"msg_6_payload=7465726d203420696e6465782033\n"
	"msg_6_ciphertext=945bc2909f2ce83461c69d60012f43e7e164e319494f6742facc19a18a1a\n"
	"msg_7_ad=0000000e\n"
	"msg_7_payload=7465726d203420696e6465782034\n"
	"msg_7_ciphertext=9a4ae6910f741ad187b286b52e4ab98b6ee485c31b2ae720b17623679944\n"
	"msg_8_ad=0000000e\n"
	"msg_8_payload=7465726d203420696e6465782035\n"
	"msg_8_ciphertext=8bc49acf41c2e711e710730fd2bfeedcf7a61d2465c3f19e947da2bbe677\n"
	"msg_9_ad=0000000e\n"
	"msg_9_payload=7465726d203420696e6465782036\n"
	"msg_9_ciphertext=1e0c99ec522b60bc6e7f92de9d5f920051a7e2b4bd214f4e6ca413019fcd\n"
	"msg_10_ad=0000000e\n"
	"msg_10_payload=7465726d203420696e6465782037\n"
	"msg_10_ciphertext=d71ab38039ab324bcecaab51939f2a35707cf18823a7308ce6506af60ee9\n"
	"msg_11_ad=0000000e\n"
	"msg_11_payload=7465726d203420696e6465782038\n"
	"msg_11_ciphertext=b173a21036f482788deb53ad992d423a0d832c1b725eda57b608e2340c38\n"
	"msg_12_ad=0000000e\n"
	"msg_12_payload=7465726d203420696e6465782039\n"
	"msg_12_ciphertext=66a8b9a5b7b20f6d4746446de0c12d7ca4ac5a9ebc0f58a7f2fab07550a6\n"
	"handshake_hash=da1892a63caa27f0fcd5cc148ac58e24e04dd4f025d7f5c5596b4f0d0108bcfd\n";

struct field {
	uint8_t data[FIELD_MAX];
	size_t len;
};

struct vector {
	bool ours;                /* of the protocol that we speak */
	unsigned rekey_messages;  /* 0: as usual */
	struct field init_static, resp_static, init_ephemeral, resp_ephemeral;
	struct field psk, prologue, hash;
	struct {
		struct field ad, payload, sealed;
	} msg[MESSAGES_MAX];
	unsigned messages;
};

static struct bytes field_bytes(const struct field *f)
{
	return bytes_of(f->data, f->len);
}

static uint8_t nibble(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, c);

	OK(c != 0 && at != NULL);
	return (uint8_t)(at - digits);
}

static void parse_hex(struct bytes text, struct field *f)
{
	OK(text.len % 2 == 0 && text.len / 2 <= FIELD_MAX);
	f->len = text.len / 2;
	for (size_t i = 0; i < f->len; i++)
		f->data[i] = (uint8_t)(nibble((char)text.data[2 * i]) << 4 |
				       nibble((char)text.data[2 * i + 1]));
}

/* "msg_<n>_<kind>" */
static struct field *message_field(struct vector *v, const char *key)
{
	char kind[16];
	unsigned n;

	OK(sscanf(key, "msg_%2u_%15s", &n, kind) == 2 && n < MESSAGES_MAX);
	if (n >= v->messages)
		v->messages = n + 1;
	if (strcmp(kind, "ad") == 0)
		return &v->msg[n].ad;
	if (strcmp(kind, "payload") == 0)
		return &v->msg[n].payload;
	OK(strcmp(kind, "ciphertext") == 0);
	return &v->msg[n].sealed;
}

static void parse_line(struct vector *v, const char *key, struct bytes value)
{
	struct {
		const char *key;
		struct field *field;
	} known[] = {
		{"init_static", &v->init_static},
		{"resp_static", &v->resp_static},
		{"gen_init_ephemeral", &v->init_ephemeral},
		{"gen_resp_ephemeral", &v->resp_ephemeral},
		{"preshared_key", &v->psk},
		{"prologue", &v->prologue},
		{"handshake_hash", &v->hash},
	};

	if (strcmp(key, "handshake") == 0) {
		v->ours = bytes_eq(value, bytes_str(PROTOCOL));
		return;
	}
	if (!v->ours)
		return;
	if (strcmp(key, "rekey_messages") == 0) {
		v->rekey_messages = (unsigned)strtoul((const char *)value.data, NULL, 10);
		return;
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(key, known[i].key) == 0) {
			parse_hex(value, known[i].field);
			return;
		}
	parse_hex(value, message_field(v, key));
}

/* Reads one block of lines, up to a blank one. Returns where the next one starts, or NULL. */
static const char *parse_block(const char *text, struct vector *v)
{
	char key[32];

	memset(v, 0, sizeof *v);
	text += strspn(text, "\n");
	while (*text != 0 && *text != '\n') {
		const char *eq = strchr(text, '='), *end = strchr(text, '\n');

		OK(eq != NULL && end != NULL && eq < end && (size_t)(eq - text) < sizeof key);
		memcpy(key, text, (size_t)(eq - text));
		key[eq - text] = 0;
		parse_line(v, key, bytes_of(eq + 1, (size_t)(end - eq - 1)));
		text = end + 1;
	}
	return *text == 0 ? NULL : text;
}

static void start(const struct vector *v, struct noise_hs *hs, enum noise_role role)
{
	bool init = role == NOISE_INITIATOR;
	struct noise_hs_config config = {
		.role = role,
		.static_secret = init ? v->init_static.data : v->resp_static.data,
		.psk = v->psk.data,
		.prologue = field_bytes(&v->prologue),
	};

	OK(v->init_static.len == KEY_LEN && v->resp_static.len == KEY_LEN && v->psk.len == KEY_LEN);
	OK(v->init_ephemeral.len == KEY_LEN && v->resp_ephemeral.len == KEY_LEN);
	noise_hs_init(hs, &config, init ? v->init_ephemeral.data : v->resp_ephemeral.data);
}

static void check_handshake(const struct vector *v, struct noise_hs *writer,
			    struct noise_hs *reader, unsigned i)
{
	struct bytes plain = field_bytes(&v->msg[i].payload);
	uint8_t msg[NOISE_HS_MSG_MAX], payload[FIELD_MAX];
	size_t len;

	EQ_INT(noise_hs_write(writer, plain, msg, sizeof msg, &len), ERR_OK);
	EQ_INT(len, v->msg[i].sealed.len);
	EQ_MEM(msg, v->msg[i].sealed.data, len);
	EQ_INT(noise_hs_read(reader, bytes_of(msg, len), payload, sizeof payload, &len), ERR_OK);
	EQ_INT(len, v->msg[i].payload.len);
	EQ_MEM(payload, v->msg[i].payload.data, len);
}

static void check_transport(const struct vector *v, struct noise_cipher *send,
			    struct noise_cipher *recv, unsigned i)
{
	struct bytes ad = field_bytes(&v->msg[i].ad), plain = field_bytes(&v->msg[i].payload);
	uint8_t msg[FIELD_MAX + NOISE_TAG_LEN], payload[FIELD_MAX];
	size_t len;

	EQ_INT(noise_cipher_encrypt(send, ad, plain, msg, sizeof msg, &len), ERR_OK);
	EQ_INT(len, v->msg[i].sealed.len);
	EQ_MEM(msg, v->msg[i].sealed.data, len);
	EQ_INT(noise_cipher_decrypt(recv, ad, bytes_of(msg, len), payload, sizeof payload, &len),
	       ERR_OK);
	EQ_INT(len, v->msg[i].payload.len);
	EQ_MEM(payload, v->msg[i].payload.data, len);
}

static void check_split(const struct vector *v, const struct noise_session *i,
			const struct noise_session *r)
{
	uint8_t public[KEY_LEN];

	EQ_MEM(i->handshake_hash, r->handshake_hash, NOISE_HASH_LEN);
	if (v->hash.len != 0) {
		EQ_INT(v->hash.len, NOISE_HASH_LEN);
		EQ_MEM(i->handshake_hash, v->hash.data, NOISE_HASH_LEN);
	}
	key_public(v->resp_static.data, public);
	EQ_MEM(i->remote_static, public, KEY_LEN);
	key_public(v->init_static.data, public);
	EQ_MEM(r->remote_static, public, KEY_LEN);
}

static void run_vector(const struct vector *v)
{
	struct noise_hs i, r;
	struct noise_session si, sr;

	OK(v->messages > NOISE_HS_MESSAGES);
	start(v, &i, NOISE_INITIATOR);
	start(v, &r, NOISE_RESPONDER);
	for (unsigned m = 0; m < NOISE_HS_MESSAGES; m++)
		check_handshake(v, m % 2 == 0 ? &i : &r, m % 2 == 0 ? &r : &i, m);
	EQ_INT(noise_hs_split(&i, &si), ERR_OK);
	EQ_INT(noise_hs_split(&r, &sr), ERR_OK);
	check_split(v, &si, &sr);
	if (v->rekey_messages != 0) {
		si.send.rekey_messages = si.recv.rekey_messages = v->rekey_messages;
		sr.send.rekey_messages = sr.recv.rekey_messages = v->rekey_messages;
	}
	for (unsigned m = NOISE_HS_MESSAGES; m < v->messages; m++) {
		bool by_initiator = (m - NOISE_HS_MESSAGES) % 2 == 0;

		check_transport(v, by_initiator ? &si.send : &sr.send,
				by_initiator ? &sr.recv : &si.recv, m);
	}
}

/* Returns how many were of our protocol. */
static unsigned run_vectors(const char *text)
{
	static struct vector v;
	unsigned n = 0;

	while (text != NULL) {
		text = parse_block(text, &v);
		if (v.ours) {
			run_vector(&v);
			n++;
		}
	}
	return n;
}

TEST(an_independent_implementation_agrees)
{
	EQ_INT(run_vectors(own_vectors), 2);
}

TEST(published_vectors_agree_if_given)
{
	const char *path = getenv("NOISE_VECTORS");
	size_t max = 64 * MIB, len;
	char *text;
	FILE *f;

	if (path == NULL) {
		printf("# NOISE_VECTORS is not set: nothing to check\n");
		return;
	}
	f = fopen(path, "r");
	OK(f != NULL);
	text = mem_alloc(max);
	len = fread(text, 1, max - 1, f);
	OK(feof(f) && fclose(f) == 0 && strlen(text) == len);
	len = run_vectors(text);
	printf("# %zu vectors of " PROTOCOL "\n", len);
	OK(len > 0);
	free(text);
}

TESTS = {
	T(an_independent_implementation_agrees),
	T(published_vectors_agree_if_given),
};
TAP_MAIN
