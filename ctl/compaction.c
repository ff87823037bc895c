/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "ctl/commands.h"

struct compaction_options {
	bool physical;
};

static const struct flag compaction_flags[] = {
	FLAG(struct compaction_options, BOOL, physical, "physical", 0, NULL, "",
	     "wait until the node asked has given the space back"),
	FLAG_END
};

static int compaction_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct compaction_options *o = options;
	struct kv_compact compact = {.physical = o->physical};
	struct client_request r = {.method = "compact", .params = &compact};
	int code;

	if (argc != 1)
		return ctl_bad_args(ctl, &ctl_compaction, "compaction command needs 1 argument");
	if (number_parse(argv[0], 10, &compact.revision) != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "bad revision \"%s\"", argv[0]);
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		fprintf(ctl->out, "compacted revision %" PRId64 "\n", compact.revision);
	return code;
}

const struct ctl_command ctl_compaction = {
	.name = "compaction", .alias = "compact", .args = "REVISION",
	.summary = "Gives up the history before a revision",
	.more = "The revision itself stays readable. Reads of older revisions fail from then on.\n",
	.flags = compaction_flags, .options_size = sizeof(struct compaction_options),
	.run = compaction_run};
