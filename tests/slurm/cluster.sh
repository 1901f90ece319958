# SPDX-License-Identifier: MIT
#
# cluster.sh - a Slurm of one's own on loopback, for tests; sourced.
#
#   cluster_missing          prints what is not installed; empty when all is
#   cluster_up FOLDER        two nodes of two CPUs and two GPUs (which are /dev/null); exports
#                            SLURM_CONF; any user may, nothing outside FOLDER is touched
#   cluster_down             cancels all jobs, stops the daemons that cluster_up started
#   cluster_wait SECONDS     until no job is left; fails when it takes longer
#
# The daemons are Debian's: slurmctld, slurmd (one per node: -N), munged with a key of its own.

cluster_pids=()

cluster_missing() {
	local p
	for p in slurmctld slurmd munged sbatch srun; do
		PATH=$PATH:/usr/sbin command -v "$p" >/dev/null || printf '%s ' "$p"
	done
}

cluster_ports() { # free ones
	"${PYTHON:-python3}" -c 'import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*(x.getsockname()[1] for x in s))' "$1"
}

cluster_config() {
	local host me node ports
	host=$(hostname -s)
	me=$(id -un)
	read -r -a ports <<<"$(cluster_ports 3)"
	cat <<-EOF
		ClusterName=test
		SlurmctldHost=$host(127.0.0.1)
		SlurmctldPort=${ports[0]}
		SlurmUser=$me
		SlurmdUser=$me
		AuthType=auth/munge
		# A short life of credentials: a requeued job waits for the old ones to expire.
		AuthInfo=socket=$cluster/munge/socket,cred_expire=5
		StateSaveLocation=$cluster/state
		SlurmdSpoolDir=$cluster/spool-%n
		TmpFS=$cluster/tmp-%n
		SlurmctldPidFile=$cluster/slurmctld.pid
		SlurmdPidFile=$cluster/slurmd-%n.pid
		SlurmctldLogFile=$cluster/log/slurmctld.log
		SlurmdLogFile=$cluster/log/slurmd-%n.log
		ProctrackType=proctrack/linuxproc
		SlurmdParameters=config_overrides
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core
		SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=100000
		ReturnToService=2
		KillWait=5
		MinJobAge=3600
		GresTypes=gpu
		PartitionName=test Nodes=ALL Default=YES DefaultTime=10 State=UP
	EOF
	for node in 1 2; do
		echo "NodeName=n$node NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[$node]} CPUs=2" \
			"CoresPerSocket=2 RealMemory=1000 Gres=gpu:2"
	done
}

cluster_start() { # NAME COMMAND...: a daemon, remembered
	local name=$1
	shift
	"$@" </dev/null >"$cluster/log/$name.out" 2>&1 &
	cluster_pids+=($!)
}

cluster_up() {
	local i node
	PATH=$PATH:/usr/sbin
	cluster=$1
	# munged wants its key private, and its socket's folder, with all above it, open to all.
	mkdir -p "$cluster"/{log,state,munge,key,dev,tmp-n1,tmp-n2}
	chmod 755 "$cluster" "$cluster/munge"
	chmod 700 "$cluster/key"
	cluster_config >"$cluster/slurm.conf"
	echo "CgroupPlugin=cgroup/v1" >"$cluster/cgroup.conf" # named, so that it does not look for one
	for i in 0 1; do
		ln -sfn /dev/null "$cluster/dev/gpu$i"
		node=n$((i + 1))
		echo "NodeName=$node Name=gpu File=$cluster/dev/gpu[0-1]" >>"$cluster/gres.conf"
	done
	head -c 128 /dev/urandom >"$cluster/key/key"
	chmod 600 "$cluster/key/key"
	export SLURM_CONF=$cluster/slurm.conf
	# Its origin is looked up by the machine's name otherwise, for half a minute where there is none.
	cluster_start munged munged --foreground --origin=127.0.0.1 --key-file="$cluster/key/key" \
		--socket="$cluster/munge/socket" --pid-file="$cluster/key/pid" \
		--log-file="$cluster/key/log" --seed-file="$cluster/key/seed"
	for ((i = 0; i < 100; i++)); do
		[ -S "$cluster/munge/socket" ] && break
		sleep 0.1
	done
	if ! [ -S "$cluster/munge/socket" ]; then
		echo "munged did not come up:" >&2
		cat "$cluster/log/munged.out" >&2
		return 1
	fi
	cluster_start slurmctld slurmctld -D -i -f "$SLURM_CONF"
	for node in n1 n2; do
		cluster_start "slurmd-$node" slurmd -D -N "$node" -f "$SLURM_CONF"
	done
	i=$SECONDS
	while [ $((SECONDS - i)) -lt 30 ]; do
		[ "$(timeout 2 sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)" = 2 ] && return 0
		sleep 0.1
	done
	echo "the cluster did not come up within 30 s:" >&2
	cat "$cluster"/log/* | grep -iE 'error|fatal' | tail -n 20 >&2
	return 1
}

cluster_down() {
	local i
	scancel --full --user="$(id -un)" 2>/dev/null
	for ((i = 0; i < 50; i++)); do
		[ -z "$(squeue -h 2>/dev/null)" ] && break
		sleep 0.1
	done
	for ((i = ${#cluster_pids[@]} - 1; i >= 0; i--)); do
		kill "${cluster_pids[$i]}" 2>/dev/null
	done
	wait "${cluster_pids[@]}" 2>/dev/null
	cluster_pids=()
}

cluster_wait() {
	local end=$((SECONDS + $1))
	while [ -n "$(squeue -h 2>/dev/null)" ]; do
		if [ $SECONDS -gt $end ]; then
			echo "jobs are left after $1 s:" >&2
			squeue >&2
			return 1
		fi
		sleep 0.3
	done
}
