#!/bin/sh
# results/README.md holds what ./engine --help-results prints, between two marks.
#
#   tests/results_page.sh ENGINE            is it so?
#   tests/results_page.sh ENGINE --write    put it there
set -eu
engine=$1
page=$(dirname "$0")/../results/README.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT

awk -v engine="$engine" '
	/^<!-- to here -->$/ { inside = 0 }
	!inside { print }
	/^<!-- from here: / {
		inside = 1
		print ""
		while (((engine " --help-results") | getline line) > 0)
			print line
		print ""
	}' "$page" | cat -s >"$new"

if [ "${2:-}" = --write ]; then
	cp "$new" "$page"
elif ! diff "$page" "$new"; then
	echo "results/README.md is not what the engine writes: tests/results_page.sh $engine --write"
	exit 1
fi
