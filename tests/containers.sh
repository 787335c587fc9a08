#!/bin/busybox sh
# Runs in the virtual machine of `cargo xtask containers`: unpacks a Debian root file system from the
# disk, starts oomwhy and the runtimes in it, and runs containers that exceed their limits. Each
# container is removed at once. tests/src/containers.rs compares the reports.
set -u
B=/bin/busybox
ROOT=/root # later the root of all mounts, and where this script is
RESULTS=/results
PROGRAMS="c-static-pie cpp go rust"
# Ids in the format of Kubernetes.
POD_UID=0b1d7a8e-5c3f-4e2a-9d64-7f80a1b2c3d4
NODE_ID=c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7
RUST_ID=d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8
MIB=1048576

log() {
    read -r up _ </proc/uptime
    echo "### $up s: $*"
}

# Waits until a command succeeds. Ends the script if that takes two minutes.
await() {
    read -r begin _ </proc/uptime
    until "$@" >/dev/null 2>&1; do
        read -r now _ </proc/uptime
        if [ $((${now%.*} - ${begin%.*})) -gt 120 ]; then
            log "problem: not within two minutes: $*"
            $B tail -n 20 $ROOT/*.log $RESULTS/stderr.txt
            exit 1
        fi
        $B sleep 0.2
    done
}

inside() {
    $B env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C \
        OOMWHY_HELPER_DEADLINE_FACTOR=$OOMWHY_HELPER_DEADLINE_FACTOR $B chroot $ROOT "$@"
}

file_system() {
    $B mkdir -p $ROOT
    $B mount -t tmpfs -o size=95% tmpfs $ROOT
    $B tar -x -C $ROOT -f /dev/nvme0n1
    for directory in proc sys dev run tmp root var/tmp var/lib/containers var/log/containers; do
        $B mkdir -p $ROOT/$directory
    done
    for directory in proc sys dev; do
        $B mount --rbind /$directory $ROOT/$directory
    done
    $B mkdir -p $ROOT/dev/pts $ROOT/dev/shm $ROOT/etc/containers
    $B mount -t devpts devpts $ROOT/dev/pts
    $B chmod 1777 $ROOT/dev/shm $ROOT/tmp $ROOT/var/tmp
    printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' >$ROOT/etc/passwd
    printf 'root:x:0:\napp:x:1000:\n' >$ROOT/etc/group
    $B cp $B $ROOT/usr/bin/busybox
    [ -e $ROOT/usr/bin/sh ] || $B ln -s busybox $ROOT/usr/bin/sh
    $B ip link set lo up
    $B cp /oomwhy $ROOT/oomwhy
    # An initramfs does the same. Paths of programs in containers end at the root of all mounts.
    cd $ROOT || exit 1
    $B mount --move . /
    ROOT=.
}

# Makes an image of the programs. Interpreters and libraries come from a mount of /usr.
image() {
    image=$ROOT/image
    for directory in bin etc proc sys dev tmp usr; do
        $B mkdir -p $image/$directory
    done
    $B ln -s usr/lib $image/lib
    $B ln -s usr/lib64 $image/lib64
    for program in $PROGRAMS; do
        $B cp /bin/$program $image/bin/$program
    done
    $B cp /programs/* $image/
    $B tar -c -C $image -f $ROOT/image.tar .
}

# Logs how a container ended.
ended() {
    log "$1 ended: $2"
}

containerd_start() {
    inside containerd --log-level warn >$ROOT/containerd.log 2>&1 &
    await inside ctr version
}

docker_start() {
    inside dockerd --containerd /run/containerd/containerd.sock --storage-driver vfs --bridge none \
        --userland-proxy=false --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --exec-opt native.cgroupdriver=cgroupfs >$ROOT/dockerd.log 2>&1 &
}

podman_kills() {
    echo '{"default":[{"type":"insecureAcceptAnything"}]}' >$ROOT/etc/containers/policy.json
    printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
        >$ROOT/etc/containers/storage.conf
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "crun"\n' \
        >$ROOT/etc/containers/containers.conf
    log podman
    inside podman import -q /image.tar localhost/hog:1
    log "podman has the image"
    podman="inside podman run --rm --network none --log-driver none"
    $podman --name hungry-python --memory 64m --volume /usr:/usr:ro localhost/hog:1 \
        /usr/bin/python3 -X perf /leak.py 200
    ended hungry-python $?
    # Only addresses are known of this program after its exit, so its exit must take a while.
    $podman --name hungry-go --memory 256m localhost/hog:1 /bin/go 800
    ended hungry-go $?
}

as_user() {
    $B env -i PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/1000 LANG=C \
        $B chroot $ROOT /usr/bin/busybox su -s /bin/sh app -c "$*"
}

# Runs podman without root, in a cgroup that the user owns, as in a session of systemd.
rootless_kill() {
    own=/sys/fs/cgroup
    for name in user.slice user-1000.slice user@1000.service; do
        echo "+memory +pids" >$own/cgroup.subtree_control
        own=$own/$name
        $B mkdir $own
    done
    echo "+memory +pids" >$own/cgroup.subtree_control
    $B mkdir $own/session $own/podman
    config=$ROOT/home/app/.config/containers
    $B mkdir -p $config $ROOT/run/user/1000
    printf '[storage]\ndriver = "vfs"\n[storage.options.vfs]\nignore_chown_errors = "true"\n' >$config/storage.conf
    $B chown -R 1000:1000 $own $ROOT/home/app $ROOT/run/user/1000
    log "podman of a user"
    (
        # The user can move processes within this cgroup, but not into it.
        echo 0 >$own/session/cgroup.procs
        as_user podman import -q /image.tar localhost/hog:1
        as_user podman run --rm --network none --log-driver none --name hungry-user --memory 64m \
            --cgroup-parent /user.slice/user-1000.slice/user@1000.service/podman \
            localhost/hog:1 /bin/cpp 200
        ended hungry-user $?
    )
}

# The most common case: a limit of 512 MB, and a program that allocates more.
docker_kill() {
    await inside docker version
    log docker
    inside docker import /image.tar hog:1 >/dev/null
    log "docker has the image"
    inside docker run --rm --name hungry-docker --memory 512m --network none hog:1 /bin/c-static-pie 2000
    ended hungry-docker $?
}

# Starts containers as the kubelet's runtime does, in a pod's cgroup: one with annotations, and one
# whose names are only in the name of the kubelet's link to the log.
containerd_kills() {
    log containerd
    ctr="inside ctr --namespace k8s.io run --rm --rootfs"
    $ctr --memory-limit $((128 * MIB)) --cgroup /kubepods/burstable/pod$POD_UID/$NODE_ID \
        --annotation io.kubernetes.cri.container-name=web \
        --annotation io.kubernetes.cri.image-name=registry.local/web:7 \
        --annotation io.kubernetes.cri.sandbox-name=shop-0 \
        --annotation io.kubernetes.cri.sandbox-namespace=shop \
        --mount type=bind,src=/usr,dst=/usr,options=rbind:ro \
        /image $NODE_ID /usr/bin/node --perf-basic-prof /leak.js 400
    ended hungry-node $?
    $B ln -s nowhere $ROOT/var/log/containers/queue-1_shop_worker-$RUST_ID.log
    $ctr --memory-limit $((64 * MIB)) --cgroup /kubepods/pod$POD_UID/$RUST_ID \
        /image $RUST_ID /bin/rust 200
    ended hungry-rust $?
}

log "unpacking"
file_system
image
log "unpacked"
# oomwhy must read a process before the process has released everything. On a machine with a free CPU
# it does so at once. Here it shares the only CPU with the victim, so it gets a real-time priority.
AT_ONCE='import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); os.execv("/oomwhy", ["oomwhy", "-o", "json"])'
inside python3 -c "$AT_ONCE" >$RESULTS/reports.jsonl 2>$RESULTS/stderr.txt &
await $B grep -q "^Tracing" $RESULTS/stderr.txt
log "oomwhy is ready"
containerd_start
docker_start
podman_kills
rootless_kill
containerd_kills
docker_kill
# The last report is written some time after the kill.
await $B grep -q '"hungry-docker"' $RESULTS/reports.jsonl
$B killall -INT oomwhy
wait_for_end() { ! $B pidof oomwhy; }
await wait_for_end
for log in containerd dockerd; do
    $B cp $ROOT/$log.log $RESULTS/
done
log "end"
