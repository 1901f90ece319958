#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# judge.sh CONFIG FILE.h5 [ENGINE ARGUMENT...] - a judge's verdicts on the replies of a result file,
# by a config whose experiment is "judge"; which replies, the config says.
#
#   sbatch --gpus-per-task=1 slurm/judge.sh configs/gemma_judge.cfg results/gemma_ap.h5
#   sbatch --dependency=afterok:JOB slurm/judge.sh CONFIG FILE.h5      behind the job that makes it
#   bash slurm/judge.sh configs/tiny_judge.cfg results/tiny_gemma2_ap.h5      without Slurm
#
# Tasks, stopping and going on are those of run.sh. Verdicts newer than the file are left as they
# are.
#
#   OUT      the verdicts (NAME.judge.h5 beside NAME.h5)
# and slurm/common.sh.
#SBATCH --job-name=judge
#SBATCH --output=slurm/logs/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" # $0 is a copy in a spool folder
. slurm/common.sh
need_arguments 2 "judge.sh CONFIG FILE.h5 [ENGINE ARGUMENT...]" "$@"

config=$1 file=$2
shift 2
: "${OUT:=${file%.h5}.judge.h5}"
if ! [ -e "$file" ]; then
	echo "$file: expected a finished result file, found none" >&2
	exit 3
fi
if [ "$OUT" -nt "$file" ]; then
	say "$OUT is there"
	exit 0
fi
fresh=() # verdicts on an earlier file of that name are kept, under another
[ -e "$OUT" ] && fresh=(--fresh)
run_engine "$config" "$@" --set "from=$file" --set "output=$OUT" ${fresh[@]+"${fresh[@]}"}
