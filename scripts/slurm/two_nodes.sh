#!/bin/bash
# A Slurm of two nodes on this one machine, to try the sbatch files (docs/cluster.md).
#
#     scripts/slurm/two_nodes.sh up FOLDER      # then: export SLURM_CONF=FOLDER/slurm.conf
#     scripts/slurm/two_nodes.sh node2 FOLDER   # one node again, as after a restart
#     scripts/slurm/two_nodes.sh kill node2 FOLDER
#     scripts/slurm/two_nodes.sh down FOLDER
#
# It needs root, Linux, and Debian's or Ubuntu's slurm-wlm, munge and iproute2. A node is a network
# namespace with an address (10.77.0.11, 10.77.0.12) and a name of its own; the two share all else:
# disk, cores, memory. Each claims 32 cores and 4 GPUs, which need not exist. Jobs of the partition
# `high` take the place of those of `low`, which have two minutes to end and are queued again. A
# node is down after 30 seconds, not 5 minutes; a job begins again after 6 seconds, not 2 minutes.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

configure() {
    local memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 - 100))
    mkdir -p "$folder"/{state,node1,node2}
    cat >"$folder/slurm.conf" <<END
ClusterName=losh
SlurmctldHost=$(hostname -s)(10.77.0.1)
AuthType=auth/munge
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
SchedulerParameters=sched_interval=3
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=node1 NodeAddr=10.77.0.11 CPUs=32 RealMemory=$memory Gres=gpu:4
NodeName=node2 NodeAddr=10.77.0.12 CPUs=32 RealMemory=$memory Gres=gpu:4
PartitionName=low Nodes=node1,node2 Default=YES PriorityTier=1 GraceTime=120
PartitionName=high Nodes=node1,node2 PriorityTier=10 PreemptMode=OFF
END
    touch "$folder"/gpu{0..3}
    printf 'NodeName=node[1-2] Name=gpu File=%s/gpu[0-3]\n' "$folder" >"$folder/gres.conf"
    printf '127.0.0.1 localhost\n10.77.0.1 %s\n10.77.0.11 node1\n10.77.0.12 node2\n' \
        "$(hostname -s)" >"$folder/hosts"
}
# `ip netns exec` would hide /sys/fs/cgroup, which slurmd looks for.
start_node() {
    nsenter --net="/run/netns/$1" unshare --uts --mount bash -c '
        hostname "$0"
        mount --bind "$1/hosts" /etc/hosts
        exec slurmd -f "$1/slurm.conf" -N "$0"' "$1" "$folder"
}
up() {
    configure
    ip link add losh0 type bridge
    ip addr add 10.77.0.1/24 dev losh0
    ip link set losh0 up
    for n in 1 2; do
        ip netns add "node$n"
        ip link add "losh$n" type veth peer name eth0 netns "node$n"
        ip link set "losh$n" master losh0 up
        ip -n "node$n" addr add "10.77.0.1$n/24" dev eth0
        ip -n "node$n" link set lo up
        ip -n "node$n" link set eth0 up
    done
    if ! pgrep -x munged >/dev/null; then
        install -d -o munge -g munge /run/munge
        runuser -u munge munged
    fi
    slurmctld -f "$folder/slurm.conf"
    start_node node1
    start_node node2
}
# Everything in the node dies at once, as where its power fails.
kill_node() {
    ip netns pids "$1" | xargs -r kill -KILL
}
down() {
    pkill -F "$folder/slurmctld.pid" || true
    for n in 1 2; do
        kill_node "node$n" || true
        ip link del "losh$n" || true
        ip netns del "node$n" || true
    done
    ip link del losh0 || true
}

case ${1:-} in
up | down) folder=$(realpath -m "${2:?name a folder}") && "$1" ;;
node1 | node2) folder=$(realpath "${2:?name a folder}") && start_node "$1" ;;
kill) kill_node "${2:?name a node}" ;;
*) sed -n '2,8s/^# \?//p' "$0" && exit 1 ;;
esac
