#!/bin/busybox sh
# Runs in the virtual machine of `cargo xtask containers`: unpacks a Debian root file system from the
# disk, starts oomwhy and the runtimes in it, and lets a container of each outgrow its limit.
# What oomwhy prints goes to the console, where xtask reads it.
set -u
B=/bin/busybox
ROOT=/root
HUNGRY="/bin/hog anon 200"
# Ids of containers that ctr runs, as Kubernetes would choose them.
CTR_ID=c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7

prepare() {
    $B mkdir -p $ROOT
    $B mount -t tmpfs -o size=90% tmpfs $ROOT
    $B mount --make-rprivate / 2>/dev/null
    $B tar -x -C $ROOT -f /dev/nvme0n1
    for directory in proc sys dev run tmp root var/tmp var/lib/containers var/log; do
        $B mkdir -p $ROOT/$directory
    done
    for directory in proc sys dev; do
        $B mount --rbind /$directory $ROOT/$directory
    done
    $B mount -t tmpfs tmpfs $ROOT/run
    $B mkdir -p $ROOT/dev/pts $ROOT/dev/shm
    $B mount -t devpts devpts $ROOT/dev/pts
    $B cp /oomwhy $ROOT/oomwhy
    $B mkdir -p $ROOT/image/bin $ROOT/image/tmp $ROOT/image/proc $ROOT/image/sys $ROOT/image/dev \
        $ROOT/image/etc
    $B cp /init $ROOT/image/bin/hog
    $B cp $B $ROOT/image/bin/busybox
    $B tar -c -C $ROOT/image -f $ROOT/image.tar .
    echo 'root:x:0:0:root:/root:/bin/sh' >$ROOT/etc/passwd
    echo 'root:x:0:' >$ROOT/etc/group
    $B ip link set lo up
}

inside() {
    $B chroot $ROOT /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C "$@"
}

# Waits until a command succeeds.
await() {
    for _ in $($B seq 1 240); do
        "$@" >/dev/null 2>&1 && return 0
        $B sleep 0.5
    done
    echo "problem: not within two minutes: $*"
    return 1
}

podman_kill() {
    $B mkdir -p $ROOT/etc/containers
    echo '{"default":[{"type":"insecureAcceptAnything"}]}' >$ROOT/etc/containers/policy.json
    printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
        >$ROOT/etc/containers/storage.conf
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "crun"\n' \
        >$ROOT/etc/containers/containers.conf
    inside podman import -q /image.tar localhost/hog:1
    echo "### podman"
    inside podman run --rm --name hungry-podman --memory 64m --network none localhost/hog:1 $HUNGRY
    echo "podman ended: $?"
}

docker_kill() {
    inside dockerd --storage-driver vfs --bridge none --iptables=false --ip-forward=false \
        --ip-masq=false --exec-opt native.cgroupdriver=cgroupfs >$ROOT/dockerd.log 2>&1 &
    if ! await inside docker version; then
        $B tail -n 20 $ROOT/dockerd.log
        return
    fi
    inside docker import /image.tar hog:1 >/dev/null
    echo "### docker"
    inside docker run --rm --name hungry-docker --memory 64m --network none hog:1 $HUNGRY
    echo "docker ended: $?"
}

containerd_kill() {
    inside containerd >$ROOT/containerd.log 2>&1 &
    if ! await inside ctr version; then
        $B tail -n 20 $ROOT/containerd.log
        return
    fi
    echo "### containerd"
    inside ctr run --rm --memory-limit 67108864 --rootfs /image $CTR_ID $HUNGRY
    echo "containerd ended: $?"
}

prepare
inside /oomwhy -o json >/reports 2>/said &
await $B grep -q "^Tracing" /said
podman_kill
containerd_kill
docker_kill
await $B grep -q '"hungry-docker"' /reports
$B killall -INT oomwhy
$B sleep 2
$B cat /said
$B cat /reports
