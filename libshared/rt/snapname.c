/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/snapname.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "rt/config.h"

enum { SNAPNAME_MAX = 128 };

static void name_of(char name[SNAPNAME_MAX], uint64_t index, uint64_t crc)
{
	(void)snprintf(name, SNAPNAME_MAX, "snap-%020" PRIu64 "-%08" PRIx64 ".snap", index, crc);
}

static void name_of_incoming(char name[SNAPNAME_MAX], const struct snapshot_id *id)
{
	(void)snprintf(name, SNAPNAME_MAX, "incoming-%020" PRIu64 "-%" PRIu64 "-%" PRIu64 "-%08" PRIx64,
		       id->index, id->term, id->bytes, id->crc);
}

char *snapname_dir(const char *data_dir)
{
	return config_path(data_dir, SNAPNAME_DIR);
}

static char *path_of(const char *data_dir, const char *name)
{
	char *dir = snapname_dir(data_dir), *path = config_path(dir, name);

	mem_free(dir);
	return path;
}

char *snapname_path(const char *data_dir, uint64_t index, uint64_t crc)
{
	char name[SNAPNAME_MAX];

	name_of(name, index, crc);
	return path_of(data_dir, name);
}

char *snapname_incoming(const char *data_dir, const struct snapshot_id *id)
{
	char name[SNAPNAME_MAX];

	name_of_incoming(name, id);
	return path_of(data_dir, name);
}

/* What was read is written again: only the one way to write a name is a name. */
bool snapname_parse(const char *name, uint64_t *index, uint64_t *crc)
{
	char again[SNAPNAME_MAX];

	if (sscanf(name, "snap-%20" SCNu64 "-%8" SCNx64 ".snap", index, crc) != 2)
		return false;
	name_of(again, *index, *crc);
	return strcmp(name, again) == 0;
}

bool snapname_parse_incoming(const char *name, struct snapshot_id *id)
{
	char again[SNAPNAME_MAX];

	if (sscanf(name, "incoming-%20" SCNu64 "-%20" SCNu64 "-%20" SCNu64 "-%8" SCNx64, &id->index,
		   &id->term, &id->bytes, &id->crc) != 4)
		return false;
	name_of_incoming(again, id);
	return strcmp(name, again) == 0;
}
