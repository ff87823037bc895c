/* SPDX-License-Identifier: Apache-2.0 */
/* What the preloaded fault libraries share. */
#ifndef QUORATE_TEST_PRELOAD_H
#define QUORATE_TEST_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The function that we stand in front of. */
#define PRELOAD_REAL(name) \
	static __typeof__(&name) real; \
	if (real == NULL) { \
		void *p_ = dlsym(RTLD_NEXT, #name); \
		if (p_ == NULL) \
			abort(); \
		memcpy(&real, &p_, sizeof real); \
	}

#endif
