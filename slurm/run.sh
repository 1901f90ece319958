#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh CONFIG [ENGINE ARGUMENT...] - any config, on as many GPUs or cores of as many nodes as the
# job has: its tasks are the ranks, and they share the work of one result file.
#
#   sbatch slurm/run.sh configs/gemma_ap.cfg                                         one task
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-task=1 slurm/run.sh configs/gemma_ap.cfg
#   sbatch -p cpu --ntasks=4 --cpus-per-task=16 slurm/run.sh configs/gemma_ap.cfg --set threads=16
#   bash slurm/run.sh configs/tiny_gemma2_ap.cfg                                     without Slurm
#
# Two minutes before the time limit, and when preempted, the job stops, is put back into the queue
# and goes on from its units. Submitting it again after any failure does the same. Environment:
# slurm/common.sh.
#SBATCH --job-name=saengine
#SBATCH --output=slurm/logs/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" # $0 is a copy in a spool folder
. slurm/common.sh
need_arguments 1 "run.sh CONFIG [ENGINE ARGUMENT...]" "$@"

run_engine "$@"
