#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The simulator's part of `make check`. Prints TAP.
#   QUORATE_SIM_SEEDS   how many (2000; under sanitizers 100)
#   QUORATE_SIM_FROM    the first (1; under sanitizers another stretch each day)
sim=${QUORATE_BUILD:-.}/tests/sim/quorate-sim
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
TMPDIR=$tmp
export TMPDIR
seeds=${QUORATE_SIM_SEEDS:-2000} from=${QUORATE_SIM_FROM:-1}
if [ -n "$QUORATE_SANITIZED" ]; then
	seeds=${QUORATE_SIM_SEEDS:-100}
	from=${QUORATE_SIM_FROM:-$(($(date +%s) / 86400 * 100))}
fi
n=0
say() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
trace_of() { "$sim" "$@" | sed -n 's/.*trace \([0-9a-f]*\)$/\1/p'; }

echo 1..6

"$sim" --seeds "$seeds" --from "$from"
say $? "seeds_from_${from}_keep_all_promises"

a=$(trace_of --seed 7) b=$(trace_of --seed 7)
[ -n "$a" ] && [ "$a" = "$b" ]
say $? "a_seed_replays_exactly"

a=$(trace_of --seed 20 --lmdb --nodes 3 --ms 1500) b=$(trace_of --seed 20 --lmdb --nodes 3 --ms 1500)
[ -n "$a" ] && [ "$a" = "$b" ]
say $? "a_seed_replays_exactly_over_lmdb"

a=$(trace_of --seed 7) b=$(trace_of --seed 8)
[ -n "$a" ] && [ -n "$b" ] && [ "$a" != "$b" ]
say $? "other_seeds_run_otherwise"

"$sim" --show --seed 7 >"$tmp/plan" && "$sim" --seed 7 --faults none >"$tmp/out" &&
	grep -q '[0-9] ms for' "$tmp/plan" && grep -q ' 0 ends of daemons' "$tmp/out"
say $? "faults_can_be_left_out"

status=0
while read -r run; do
	case $run in "#"* | "") continue ;; esac
	# shellcheck disable=SC2086
	"$sim" $run >"$tmp/out" || { status=1; sed 's/^/# /' "$tmp/out"; }
done <"${srcdir:-.}/tests/sim/found.txt"
say $status "what_once_failed_does_not"
