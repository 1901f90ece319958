#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sweep_kstar.sh CONFIG [ENGINE ARGUMENT...] - how refusal and coherence depend on the number of
# features K* and the factor c of the clamp: the trade-off curve of one model.
#
#   sbatch slurm/sweep_kstar.sh configs/gemma_ap.cfg        a job, an array, and a job
#   K_STAR="5 10 20" C="-1 -3" sbatch -p gpu --gpus-per-task=1 slurm/sweep_kstar.sh CONFIG
#   bash slurm/sweep_kstar.sh configs/tiny_gemma2_ap.cfg    the same one after the other
#
# 1. This job computes direction and attribution once, for the largest K*: OUT/shared.h5.
# 2. An array has one task per point, K* and c: jailbreak and coherence with the best K* features,
#    OUT/kK_cC.h5. A point that is there is skipped, one that was stopped goes on.
# 3. When all points are there, a last job joins them: OUT/sweep.csv, OUT/sweep.png
#    (saengine.sweep).
# Both are submitted at once and wait for what they need. Submitting the sweep again completes it;
# with other settings or files it is refused, and points that were not made alike are not joined.
#
#   K_STAR   list of K* ("5 10 20 40")            C        list of c ("-1 -2 -3 -4")
#   METHOD   cossim_ap, ap or cossim (cossim_ap)  OUT      folder (results/sweep_NAME)
#   PARALLEL tasks of the array at a time (8)     OPTIONS  of sbatch for array and last job, e.g.
#                                                          "-p gpu --gpus-per-task=1 --time=2:00:00"
#   PYTHON   one with h5py, numpy and matplotlib (python3)
# and slurm/common.sh.
#SBATCH --job-name=sweep
#SBATCH --output=slurm/logs/%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --ntasks=1
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" # $0 is a copy in a spool folder
. slurm/common.sh
need_arguments 1 "sweep_kstar.sh CONFIG [ENGINE ARGUMENT...]" "$@"

: "${K_STAR:=5 10 20 40}" "${C:=-1 -2 -3 -4}" "${METHOD:=cossim_ap}" "${PARALLEL:=8}"
: "${OUT:=results/sweep_$(basename "$1" .cfg)}"
export K_STAR C METHOD OUT

points=()
most=0
for k in $K_STAR; do
	if [ "$k" -gt "$most" ]; then
		most=$k
	fi
	for c in $C; do
		points+=("$k $c")
	done
done

# A factor as libconfig wants it: with a point.
real() {
	case $1 in
	*[.e]*) echo "$1" ;;
	*) echo "$1.0" ;;
	esac
}

shared() {
	local methods="\"cossim_ap\""
	[ "$METHOD" = cossim_ap ] || methods="\"$METHOD\", $methods"
	if [ -e "$OUT/shared.h5" ]; then
		say "$OUT/shared.h5 is there"
		set -- "$@" --dry-run # refuses one of other settings or files
	fi
	run_engine "$@" --set 'experiment=["direction", "attribution"]' \
		--set "attribution.methods=[$methods]" --set "attribution.k_star=$most" \
		--set "output=$OUT/shared.h5"
}

point() { # number, then the arguments
	local k c file
	read -r k c <<<"${points[$1]}"
	shift
	file="$OUT/k${k}_c${c}.h5"
	if [ -e "$file" ]; then
		say "$file is there"
		return 0
	fi
	run_engine "$@" --set 'experiment=["jailbreak", "coherence"]' --set "from=$OUT/shared.h5" \
		--set "from_k_star=$k" --set "clamp.scale=[$(real "$c")]" \
		--set 'jailbreak.scopes=["global"]' --set "coherence.methods=[\"$METHOD\"]" \
		--set "output=$file"
}

join() {
	local files=()
	for p in "${points[@]}"; do
		files+=("$OUT/k${p% *}_c${p#* }.h5")
	done
	PYTHONPATH=python${PYTHONPATH:+:$PYTHONPATH} "${PYTHON:-python3}" -m saengine.sweep \
		--method "$METHOD" --csv "$OUT/sweep.csv" --plot "$OUT/sweep.png" "${files[@]}"
}

# Array and last job, once per sweep: a requeued job finds them submitted.
submit_rest() {
	local array last options=()
	if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
		return 0
	fi
	read -r -a options <<<"${OPTIONS:-}"
	if [ -n "${SLURM_JOB_PARTITION:-}" ]; then
		options=(--partition="$SLURM_JOB_PARTITION" "${options[@]}")
	fi
	if [ -n "${SLURM_JOB_ACCOUNT:-}" ] && [ "$SLURM_JOB_ACCOUNT" != "(null)" ]; then
		options=(--account="$SLURM_JOB_ACCOUNT" "${options[@]}")
	fi
	array=$(SWEEP_STEP=point sbatch --parsable --kill-on-invalid-dep=yes \
		--dependency="afterok:$SLURM_JOB_ID" --array="0-$((${#points[@]} - 1))%$PARALLEL" \
		--job-name=sweep-point "${options[@]}" slurm/sweep_kstar.sh "$@")
	last=$(SWEEP_STEP=join sbatch --parsable --kill-on-invalid-dep=yes \
		--dependency="afterok:$array" --job-name=sweep-join "${options[@]}" \
		slurm/sweep_kstar.sh "$@")
	say "${#points[@]} points are job $array, joining them is job $last"
}

mkdir -p "$OUT"
if [ -z "${SLURM_JOB_ID:-}" ]; then
	shared "$@"
	for i in "${!points[@]}"; do
		point "$i" "$@"
	done
	join
else
	case ${SWEEP_STEP:-shared} in
	shared)
		submit_rest "$@"
		shared "$@"
		;;
	point)
		point "$SLURM_ARRAY_TASK_ID" "$@"
		;;
	join)
		join
		;;
	esac
fi
