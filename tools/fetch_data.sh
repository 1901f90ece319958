#!/bin/sh
# fetch_data.sh - the published prompt sets, each from its own place, into data/.
#
#   tools/fetch_data.sh                all sets that need no login and no unpacking; the template of
#                                      the judge experiment
#   tools/fetch_data.sh harmbench arc  these sets
#   tools/fetch_data.sh --list         what there is
#   tools/fetch_data.sh --to FOLDER    somewhere else than data/
#
# A file appears under its name when it is complete: until then it is NAME.part, which is removed
# when the download fails. A file that is there already is left alone; remove it to fetch it anew.
# Files of a known SHA-256 are checked against it: another one is kept with a warning, for sets are
# corrected now and then. Needs curl; arc also unzip, pile also zstd, harmbench_judge also python3.
#
# harmbench_judge are the two prompts of HarmBench's classifier, for requests without and with a
# context, from LLAMA2_CLS_PROMPT of its code (configs/gemma_judge.cfg). The code is read as data and
# not run.
#
# wildjailbreak asks for a login: accept its terms at
# https://huggingface.co/datasets/allenai/wildjailbreak and put a token into HF_TOKEN.
#
# Exit status: 0 when every set asked for is there, 1 otherwise, 2 for wrong usage.
set -u

GITHUB=https://raw.githubusercontent.com
HUGGINGFACE=https://huggingface.co/datasets
REFUSAL=$GITHUB/andyrdt/refusal_direction/main/dataset

# set, file under data/, SHA-256 or -, address
table() {
	cat <<EOF
splits splits/harmful_train.json 8f5c0eac0efd2a7f99084bbe8d0de2c465e31b1997184783c917969d9de9ece1 $REFUSAL/splits/harmful_train.json
splits splits/harmful_val.json 305f1d1e6dfa6c50a32d24a18ef815f42b5441eb83e6d7767d242107162fd9f4 $REFUSAL/splits/harmful_val.json
splits splits/harmful_test.json 5e12ae102c3791dee083a69ab6269a78e033411c629bc3f66f75d2fde196d9ef $REFUSAL/splits/harmful_test.json
splits splits/harmless_train.json 86623b1f8a25aa35df153fc97a556dbcebb6a7c881538ae43ee479ca17f2e002 $REFUSAL/splits/harmless_train.json
splits splits/harmless_val.json 772010758e7d771ef4c7e5e4acdfd7598dcece1a6f383f20d382f640913a2a4d $REFUSAL/splits/harmless_val.json
splits splits/harmless_test.json 1b5930ce5e855ada758b3116ce7c4aaea9b9d05f8cdd77b385511d4c84173b19 $REFUSAL/splits/harmless_test.json
harmbench harmbench_behaviors_text_test.csv 75d257b3e7428c52eb7b0154318f455af3e01b09a3794b5e2f3d36054f3c0e29 $GITHUB/centerforaisafety/HarmBench/main/data/behavior_datasets/harmbench_behaviors_text_test.csv
harmbench harmbench_behaviors_text_val.csv 7bfaaa5e2b9b95002c89e2d33c019f58e9e8496e2fc65d368f1eeb8179e69534 $GITHUB/centerforaisafety/HarmBench/main/data/behavior_datasets/harmbench_behaviors_text_val.csv
jailbreakbench jailbreakbench_harmful_behaviors.csv - $HUGGINGFACE/JailbreakBench/JBB-Behaviors/resolve/main/data/harmful-behaviors.csv
advbench advbench_harmful_behaviors.csv 6cd1a5c63c07610d7eb67307772ee5606017ee950b5770ab288a2c487489d3e1 $GITHUB/llm-attacks/llm-attacks/main/data/advbench/harmful_behaviors.csv
strongreject strongreject_dataset.csv 4dd70357e4ff8b5d0ba5ebafecab5d6dd5633ce8046e3dd1c8bd93e64de44381 $GITHUB/alexandrasouly/strongreject/main/strongreject_dataset/strongreject_dataset.csv
malicious_instruct malicious_instruct.txt - $GITHUB/Princeton-SysML/Jailbreak_LLM/main/data/MaliciousInstruct.txt
advsuffixes advsuffixes.csv ea6b1f869b57f85aedd7828bae8a286c5d8722d73758ed29d5c4e85b96939071 $GITHUB/TrustMLRG/GASP/main/data/advsuffixes/advsuffixes.csv
alpaca alpaca_data.json - $GITHUB/tatsu-lab/stanford_alpaca/main/alpaca_data.json
catqa catqa_english.json - $HUGGINGFACE/declare-lab/CategoricalHarmfulQA/resolve/main/data/catqa_english.json
gsm8k gsm8k_test.jsonl - $GITHUB/openai/grade-school-math/master/grade_school_math/data/test.jsonl
arc arc_challenge_test.jsonl - https://ai2-public-datasets.s3.amazonaws.com/arc/ARC-V1-Feb2018.zip
harmbench_judge judge/harmbench_llama2.txt 788f4f6aa1491c433c4da76c9140cfc30966cea3ff3875c4d0fcb336d92f60e0 $GITHUB/centerforaisafety/HarmBench/main/eval_utils.py
harmbench_judge judge/harmbench_llama2_contextual.txt 5d6bb9e3cf4d1e5f3f7620093113222ee115af75b0b2913f00e4c7225ec9f219 $GITHUB/centerforaisafety/HarmBench/main/eval_utils.py
pile pile_val_2000.jsonl - $HUGGINGFACE/monology/pile-uncopyrighted/resolve/main/val.jsonl.zst
wildjailbreak wildjailbreak_train.tsv - $HUGGINGFACE/allenai/wildjailbreak/resolve/main/train/train.tsv
wildjailbreak wildjailbreak_eval.tsv - $HUGGINGFACE/allenai/wildjailbreak/resolve/main/eval/eval.tsv
EOF
}

BY_DEFAULT="splits harmbench jailbreakbench advbench strongreject malicious_instruct advsuffixes
alpaca catqa gsm8k harmbench_judge"

usage() {
	sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

part=
remove_part() {
	[ -z "$part" ] || rm -f "$part" "$part.packed"
}
trap remove_part EXIT
trap 'exit 1' INT TERM HUP

need() {
	command -v "$1" >/dev/null && return 0
	echo "  needs $1, which is not installed" >&2
	return 1
}

# Says why curl gave up. $1: its exit status; $2: the HTTP status; $3: the address.
explain() {
	host=${3#*://}
	host=${host%%/*}
	case $1 in
	5 | 6 | 7 | 28 | 35 | 60)
		echo "  no way to $host from here (curl $1): no network, a proxy, or a firewall"
		;;
	22)
		case $2 in
		401 | 403)
			echo "  $host asks for a login ($2): accept the terms on the set's page and put a" \
				"token into HF_TOKEN"
			;;
		404 | 410) echo "  $3 is no longer there ($2)" ;;
		407) echo "  the proxy asks for a login ($2)" ;;
		429) echo "  $host has had too many requests ($2): try again later" ;;
		*) echo "  $host answered $2" ;;
		esac
		;;
	23) echo "  cannot write: disk full, or no permission" ;;
	18 | 56) echo "  the connection to $host broke off (curl $1)" ;;
	*) echo "  curl gave up ($1), HTTP status $2" ;;
	esac >&2
}

# download ADDRESS FILE
download() {
	address=$1
	to=$2
	set -- -fsSL --retry 2 --connect-timeout 20 --proto '=https' -w '%{http_code}'
	# The token goes to Hugging Face alone (curl drops it when redirected elsewhere), and not
	# through the list of processes.
	case $address in
	https://huggingface.co/*)
		http=$(printf 'header = "Authorization: Bearer %s"\n' "${HF_TOKEN:-}" |
			sed '/Bearer "$/d' | curl "$@" -K - -o "$to" "$address" 2>/dev/null)
		;;
	*) http=$(curl "$@" -o "$to" "$address" 2>/dev/null) ;;
	esac
	status=$?
	[ $status -eq 0 ] || explain $status "$http" "$address"
	return $status
}

sha256() {
	if command -v sha256sum >/dev/null; then
		sha256sum "$1"
	else
		shasum -a 256 "$1"
	fi | cut -d' ' -f1
}

# What came must be the set, not a page about it.
is_data() {
	if [ ! -s "$1" ]; then
		echo "  the file that came is empty" >&2
	elif head -c 40 "$1" | grep -q '^version https://git-lfs'; then
		echo "  a git-lfs pointer came in place of the file" >&2
	elif head -c 200 "$1" | grep -qi '<!doctype html\|<html'; then
		echo "  a web page came in place of the file" >&2
	else
		return 0
	fi
	return 1
}

# A text of the dict that a Python file assigns to a name.
# python_text NAME KEY PACKED FILE
python_text() {
	python3 - "$@" <<'EOF'
import ast, sys
name, key, packed, target = sys.argv[1:]
with open(packed, encoding="utf-8") as f:
    tree = ast.parse(f.read())
for node in tree.body:
    if isinstance(node, ast.Assign) and any(getattr(t, "id", None) == name for t in node.targets):
        with open(target, "w", encoding="utf-8", newline="") as f:
            f.write(ast.literal_eval(node.value)[key])
        sys.exit(0)
sys.exit(1)
EOF
}

# unpack SET PACKED FILE
unpack() {
	case $1 in
	arc) unzip -p "$2" ARC-V1-Feb2018-2/ARC-Challenge/ARC-Challenge-Test.jsonl >"$3" ;;
	pile)
		zstd -dcq "$2" 2>/dev/null | head -n 2000 >"$3"
		[ "$(wc -l <"$3")" -eq 2000 ]
		;;
	harmbench_judge)
		key=prompt
		[ "${3%_contextual.txt.part}" = "$3" ] || key=prompt_contextual
		python_text LLAMA2_CLS_PROMPT "$key" "$2" "$3" 2>/dev/null
		;;
	*) mv "$2" "$3" ;;
	esac && return 0
	echo "  what came does not unpack" >&2
	return 1
}

# fetch SET FILE SHA256 ADDRESS
fetch() {
	target=$folder/$2
	if [ -s "$target" ]; then
		echo "$target is there"
		return 0
	fi
	echo "$target from $4"
	case $1 in
	arc) need unzip || return 1 ;;
	pile) need zstd || return 1 ;;
	harmbench_judge) need python3 || return 1 ;;
	esac
	mkdir -p "$(dirname "$target")" || return 1
	part=$target.part
	if download "$4" "$part.packed" && unpack "$1" "$part.packed" "$part" && is_data "$part" &&
		mv "$part" "$target"; then
		found=$(sha256 "$target")
		echo "  $(wc -c <"$target") bytes, SHA-256 $found"
		[ "$3" = - ] || [ "$3" = "$found" ] ||
			echo "  warning: not the file these programs were tested with, SHA-256 $3" >&2
		rm -f "$part.packed"
		part=
		return 0
	fi
	remove_part
	part=
	return 1
}

folder=$(dirname "$0")/../data
sets=
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		table | cut -d' ' -f1,4
		exit 0
		;;
	--to)
		[ $# -ge 2 ] || usage
		folder=$2
		shift
		;;
	-*) usage ;;
	*)
		table | cut -d' ' -f1 | grep -qx "$1" || {
			echo "no set \"$1\"; there are: $(table | cut -d' ' -f1 | uniq | tr '\n' ' ')" >&2
			exit 2
		}
		sets="$sets $1"
		;;
	esac
	shift
done
need curl || exit 1

failed=
for set in ${sets:-$BY_DEFAULT}; do
	while read -r name file hash address; do
		[ "$name" = "$set" ] || continue
		fetch "$name" "$file" "$hash" "$address" </dev/null || failed="$failed $file"
	done <<EOF
$(table)
EOF
done
[ -z "$failed" ] && exit 0
echo "not fetched:$failed" >&2
exit 1
