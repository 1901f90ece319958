#!/bin/sh
# test_fetch_data.sh - tools/fetch_data.sh against a curl that answers as a test says: what is left
# on disk, what is said, the exit status. No network is used.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failures=0

# The curl of a test: writes $BODY to the file after -o, prints $HTTP, exits with $STATUS.
mkdir "$scratch/bin"
cat >"$scratch/bin/curl" <<'EOF'
#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	-o) file=$2 ;;
	-K) cat >"$CONFIG" ;;
	esac
	shift
done
printf '%s' "$BODY" >"$file"
printf '%s' "$HTTP"
exit "$STATUS"
EOF
chmod +x "$scratch/bin/curl"

# check NAME EXPECTED_EXIT EXPECTED_TEXT EXPECTED_FILES SET...
check() {
	name=$1 exit_status=$2 text=$3 files=$4
	shift 4
	rm -rf "$scratch/data"
	PATH=$scratch/bin:$PATH CONFIG=$scratch/config "$root/tools/fetch_data.sh" --to "$scratch/data" \
		"$@" >"$scratch/out" 2>&1
	status=$?
	found=$(cd "$scratch/data" 2>/dev/null && find . -type f | sort | tr '\n' ' ')
	if [ $status -eq "$exit_status" ] && grep -qF "$text" "$scratch/out" &&
		[ "$found" = "$files" ]; then
		echo "ok   $name"
	else
		echo "FAIL $name: exit $status, files \"$found\", output:"
		cat "$scratch/out"
		failures=$((failures + 1))
	fi
}

export BODY HTTP STATUS HF_TOKEN
HF_TOKEN=
BODY='{"question":"q","answer":"#### 1"}' HTTP=200 STATUS=0
check a_file_that_came_whole_has_its_name_size_and_hash 0 "34 bytes, SHA-256 " \
	"./gsm8k_test.jsonl " gsm8k
check a_file_other_than_the_known_one_is_kept_with_a_warning 0 "warning: not the file" \
	"./advsuffixes.csv " advsuffixes
HTTP=000 STATUS=6 BODY=
check no_network_is_said_plainly_and_leaves_nothing 1 \
	"no way to raw.githubusercontent.com from here" "" gsm8k
HTTP=200 STATUS=18 BODY='{"question":'
check half_a_file_is_removed 1 "the connection to raw.githubusercontent.com broke off" "" gsm8k
HTTP=403 STATUS=22 BODY=
check a_gated_set_names_its_terms_and_the_token 1 "accept the terms on the set's page" "" \
	wildjailbreak
HTTP=404
check a_set_that_moved_is_named_by_its_address 1 "catqa_english.json is no longer there" "" catqa
HTTP=200 STATUS=0 BODY='<!DOCTYPE html><html>log in</html>'
check a_login_page_is_no_data 1 "a web page came" "" jailbreakbench
BODY='version https://git-lfs.github.com/spec/v1'
check a_git_lfs_pointer_is_no_data 1 "a git-lfs pointer came" "" alpaca
BODY='import os
LLAMA2_CLS_PROMPT = {
    "description": "a template",
    "prompt": """[INST] {behavior}
{generation}\n[/INST]""",
    "prompt_contextual": "[INST] {context}"
}
os.remove("/")
'
check a_template_is_taken_out_of_its_code 0 "38 bytes, SHA-256 " \
	"./judge/harmbench_llama2.txt ./judge/harmbench_llama2_contextual.txt " harmbench_judge
[ "$(cat "$scratch/data/judge/harmbench_llama2.txt")" = '[INST] {behavior}
{generation}
[/INST]' ] && [ "$(cat "$scratch/data/judge/harmbench_llama2_contextual.txt")" = '[INST] {context}' ] || {
	echo "FAIL the template is another"
	failures=$((failures + 1))
}
check a_template_of_another_hash_is_named 0 "not the file these programs were tested with, SHA-256 788f" \
	"./judge/harmbench_llama2.txt ./judge/harmbench_llama2_contextual.txt " harmbench_judge
BODY='LLAMA2_CLS_PROMPT = open("x").read()'
check code_that_holds_no_template_is_no_data 1 "what came does not unpack" "" harmbench_judge
check an_unknown_set_is_a_usage_error 2 'no set "harmbnch"; there are:' "" harmbnch
HF_TOKEN=secret BODY=x
check the_token_goes_through_standard_input 0 "1 bytes" "./catqa_english.json " catqa
grep -q 'Bearer secret' "$scratch/config" || {
	echo "FAIL the token was not sent"
	failures=$((failures + 1))
}
rm "$scratch/config"
check a_set_elsewhere_is_fetched_without_the_token 0 "1 bytes" "./gsm8k_test.jsonl " gsm8k
[ ! -e "$scratch/config" ] || {
	echo "FAIL the token went elsewhere"
	failures=$((failures + 1))
}
[ $failures -eq 0 ]
