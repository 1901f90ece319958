#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# test_slurm.sh ENGINE - the scripts of slurm/ under a real Slurm (cluster.sh): a sweep over K* and c
# with its array, its dependency, a task that is stopped by SIGUSR1 and requeued, and the joined
# table; the same again, which finds all done; one run on four ranks of two nodes; a judge; a run
# that comes near its time limit. Each file is compared with one made without Slurm. Exit status 77
# when something needed is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/slurm/cluster.sh

export ENGINE=$1 DEVICE=cpu PYTHON=${PYTHON:-python3}
missing=$(cluster_missing)
if [ -n "$missing" ]; then
	echo "skipped: no $missing(Debian: slurmctld slurmd slurm-client munge)"
	exit 77
fi
if ! "$PYTHON" -c "import h5py, matplotlib" 2>/dev/null; then
	echo "skipped: $PYTHON has no h5py and matplotlib"
	exit 77
fi

# Slurm asks for one beside loopback's, which it then does not use. A name is not needed.
if ! "$PYTHON" -c "import socket as s; s.getaddrinfo(None, 0, s.AF_INET, 0, 0, s.AI_ADDRCONFIG)" 2>/dev/null; then
	echo "skipped: this machine has no address but loopback's"
	exit 77
fi

if ! "$PYTHON" -c "import os; os.openpty()" 2>/dev/null; then
	echo "skipped: no pseudo-terminals here (/dev/pts), which Slurm gives its tasks"
	exit 77
fi

work=$(mktemp -d /tmp/saengine-slurm.XXXXXX) # short: names of sockets are
chmod 755 "$work"
finish() {
	status=$?
	cluster_down || true
	if [ $status -ne 0 ]; then
		tail -n 5 slurm/logs/test-*.log "$work"/cluster/log/slurmctld.log 2>/dev/null || true
	fi
	rm -rf "$work" slurm/logs/test-*.log
	exit $status
}
trap finish EXIT

job=(configs/tiny_gemma2_ap.cfg --set prompts.harmful_train.limit=12
	--set prompts.harmless_train.limit=12 --set prompts.harmful_test.limit=24
	--set prompts.harmless_test.limit=10 --set generate.max_new_tokens=48
	--set generate.prompts=2 --set direction.filter=false --set threads=1)
export K_STAR="2 5" C="-1 -2"

pass() {
	echo "ok   $1"
}

# ---- without Slurm: what must come out ------------------------------------------------------
OUT=$work/plain bash slurm/sweep_kstar.sh "${job[@]}" >"$work/plain.log" 2>&1 ||
	{ cat "$work/plain.log"; exit 1; }
pass "the sweep runs without Slurm"

cluster_up "$work/cluster"
pass "two nodes with two GPUs each are up"

# ---- the sweep, one of its points stopped ---------------------------------------------------
export OUT=$work/sweep OPTIONS="--gpus-per-task=1 --output=slurm/logs/test-%A_%a.log"
first=$(sbatch --parsable --gpus-per-task=1 --output=slurm/logs/test-%j.log \
	slurm/sweep_kstar.sh "${job[@]}")
array=$((first + 1))
# Of the first point: as soon as it has a unit, before it has all.
for ((i = 0; i < 600; i++)); do
	compgen -G "$OUT/k2_c-1.units/00-*/*.h5" >/dev/null && break
	sleep 0.05
done
# Aimed at the step; the command's own status says little while a job starts.
timeout 10 scancel --signal=USR1 "${array}_0.0" || true
cluster_wait 180
grep -q "stopped (SIGUSR1)" slurm/logs/test-"${array}"_0.log
grep -q "restart 1" slurm/logs/test-"${array}"_0.log
grep -q "were done before" slurm/logs/test-"${array}"_0.log
pass "a task stopped by SIGUSR1 is requeued and goes on from its units"
[ "$(grep -l "restart 1" slurm/logs/test-"${array}"_*.log | wc -l)" = 1 ]
pass "and no other task of the array is requeued with it"
for file in shared k2_c-1 k2_c-2 k5_c-1 k5_c-2; do
	"$PYTHON" tests/slurm/same.py "$work/plain/$file.h5" "$OUT/$file.h5"
done
pass "every point is equal to the one made without Slurm, bit for bit"
cmp "$work/plain/sweep.csv" "$OUT/sweep.csv"
[ -s "$OUT/sweep.png" ]
pass "the last job joined the points and drew the curve"

# ---- again ----------------------------------------------------------------------------------
again=$(sbatch --parsable --gpus-per-task=1 --output=slurm/logs/test-%j.log \
	slurm/sweep_kstar.sh "${job[@]}")
cluster_wait 120
[ "$(grep -l "is there" slurm/logs/test-"$again".log slurm/logs/test-"$((again + 1))"_*.log | wc -l)" = 5 ]
pass "the same sweep again finds everything there"

# ---- several ranks --------------------------------------------------------------------------
run=("${job[@]}" --set 'experiment=["direction","attribution","jailbreak"]')
bash slurm/run.sh "${run[@]}" --set output="$work/one.h5" >"$work/one.log" 2>&1
ranks=$(sbatch --parsable --nodes=2 --ntasks-per-node=2 --gpus-per-task=1 \
	--output=slurm/logs/test-%j.log slurm/run.sh "${run[@]}" --set output="$work/four.h5")
cluster_wait 120
grep -q "rank 3: .* units computed here" slurm/logs/test-"$ranks".log
"$PYTHON" tests/slurm/same.py "$work/one.h5" "$work/four.h5"
pass "four ranks on two nodes give the bits of one process"

# ---- the judge ------------------------------------------------------------------------------
judge=(configs/tiny_judge.cfg "$work/one.h5" --set threads=1)
OUT=$work/judged.h5 bash slurm/judge.sh "${judge[@]}" >"$work/judged.log" 2>&1
first=$(OUT='' sbatch --parsable --output=slurm/logs/test-%j.log slurm/judge.sh "${judge[@]}")
again=$(OUT='' sbatch --parsable --dependency="afterok:$first" --output=slurm/logs/test-%j.log \
	slurm/judge.sh "${judge[@]}")
cluster_wait 60
"$PYTHON" tests/slurm/same.py "$work/judged.h5" "$work/one.judge.h5"
grep -q "one.judge.h5 is there" slurm/logs/test-"$again".log
pass "a judge's verdicts are those of one without Slurm, and are not asked for twice"

# ---- the time limit -------------------------------------------------------------------------
# A limit of a minute, the least there is, and a signal a minute before it: Slurm looks every 30 s.
slow=("${job[@]}" --set prompts.harmful_test.limit=100 --set generate.max_new_tokens=240
	--set generate.prompts=1 --set generate.stop=none
	--set 'experiment=["direction","attribution","jailbreak"]')
late=$(sbatch --parsable --time=1 --signal=USR1@60 --output=slurm/logs/test-%j.log \
	slurm/run.sh "${slow[@]}" --set output="$work/late.h5")
# Once is enough: else a slow machine is stopped until the restarts are used up.
for ((i = 0; i < 1200; i++)); do
	scontrol show job "$late" | grep -q "Restarts=1 " && break
	sleep 0.1
done
scontrol update JobId="$late" TimeLimit=30
bash slurm/run.sh "${slow[@]}" --set output="$work/early.h5" >"$work/early.log" 2>&1
cluster_wait 1200
grep -q "stopped (SIGUSR1)" slurm/logs/test-"$late".log
grep -q "restart 1" slurm/logs/test-"$late".log
grep -q "were done before" slurm/logs/test-"$late".log
"$PYTHON" tests/slurm/same.py "$work/early.h5" "$work/late.h5"
pass "a run that nears its time limit is requeued, goes on, and gives the same bits"
