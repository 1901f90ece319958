# SPDX-License-Identifier: MIT
#
# common.sh - what the scripts of this folder share; sourced by them, after `cd` to the repository.
#
#   ENGINE        the program (./engine)
#   DEVICE        cuda, cpu, ...; not set: cuda where the job has GPUs, else what the config says
#   MAX_RESTARTS  how often a stopped job is put back into the queue (20)
#   SITE_ENV      a file to source first: modules and paths of your site

if [ -n "${SITE_ENV:-}" ]; then
	set +u
	# shellcheck source=/dev/null
	. "$SITE_ENV"
	set -u
fi
: "${ENGINE:=./engine}" "${MAX_RESTARTS:=20}"
if [ -z "${DEVICE:-}" ] && [ -n "${SLURM_JOB_GPUS:-}${SLURM_STEP_GPUS:-}${SLURM_GPUS_ON_NODE:-}" ]; then
	DEVICE=cuda
fi

# need_arguments COUNT USAGE ARGUMENT... - or says how the script is called.
need_arguments() {
	if [ $(($# - 2)) -lt "$1" ]; then
		echo "usage: sbatch [OPTIONS] slurm/$2" >&2
		exit 2
	fi
}

say() {
	echo "[$(date +%FT%T)] $*"
}

# This task as scontrol names it. SLURM_JOB_ID will not do: in an array's last task it is the whole
# array's, and requeueing it would put every task back.
task_id() {
	if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
		echo "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
	else
		echo "${SLURM_JOB_ID:-}"
	fi
}

# run_engine ARGUMENT... - one process per task of the job. Stopped (85), the job goes back into the
# queue and goes on from its units. Otherwise its status is this one's.
run_engine() {
	local rc=0 launcher=() options=() task
	task=$(task_id)
	if [ -n "$task" ]; then
		# If a rank dies the others see it by themselves, and end within a minute, their units
		# written; --wait is for what they cannot see.
		launcher=(srun --unbuffered --kill-on-bad-exit=0 --wait=120)
	fi
	if [ -n "${DEVICE:-}" ]; then
		options=(--device "$DEVICE")
	fi
	say "job ${task:-none}, restart ${SLURM_RESTART_COUNT:-0}, on ${SLURM_JOB_NODELIST:-$(hostname)}: $*"
	"${launcher[@]}" "$ENGINE" "$@" "${options[@]}" || rc=$?
	if [ "$rc" -eq 85 ] && [ -n "$task" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_RESTARTS" ]; then
		say "stopped; back into the queue"
		scontrol requeue "$task" && sleep 60 # Slurm ends this script
	fi
	return "$rc"
}
