#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Shell scripts, man pages and documents, as far as other programs can judge them. Prints TAP.
# Usage: docs.sh [TOP]
set -u
top=${1:-${srcdir:-$(dirname "$0")/../..}}
number=0
bad=0

verdict() { # FOUND CLAIM: nothing found is good
	number=$((number + 1))
	if [ -z "$1" ]; then
		echo "ok $number - $2"
	else
		echo "$1" | sed 's/^/# /'
		echo "not ok $number - $2"
		bad=1
	fi
}

skip() { # CLAIM WHY
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

scripts_pass_shellcheck() {
	for f in bootstrap .ci/run tests/lint/docs.sh tests/fuzz/run; do
		# a release archive has no .ci
		[ ! -e "$top/$f" ] || shellcheck -f gcc "$top/$f" 2>&1
	done
	sed -e 's,@DAEMON@,raftd,g' -e 's,@[a-z]*dir@,/x,g' "$top/etc/quorate.init.in" |
		shellcheck -f gcc -s sh -e SC1091 - 2>&1
}

manuals_pass_mandoc() {
	for f in "$top"/*d/*.8 "$top"/ctl/*.1 "$top"/client/man/*.3 "$top"/docs/*.[1-8]; do
		mandoc -Tlint -W warning "$f" 2>&1
	done
}

# Every relative link of a document names a file that is there.
links_lead_somewhere() {
	for f in "$top"/*.md "$top"/docs/*.md "$top"/bench/*.md; do
		grep -o ']([^)#]*' "$f" | sed 's/^](//' | grep -v '^[a-z]*:' | while read -r link; do
			[ -e "$(dirname "$f")/$link" ] || echo "${f#"$top"/}: $link is not there"
		done
	done
}

echo 1..3
if command -v shellcheck >/dev/null; then
	verdict "$(scripts_pass_shellcheck)" scripts_pass_shellcheck
else
	skip scripts_pass_shellcheck "no shellcheck"
fi
if command -v mandoc >/dev/null; then
	verdict "$(manuals_pass_mandoc)" manuals_pass_mandoc
else
	skip manuals_pass_mandoc "no mandoc"
fi
verdict "$(links_lead_somewhere)" links_lead_somewhere
exit $bad
