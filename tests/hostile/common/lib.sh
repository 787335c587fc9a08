# What the attempts in sh share. $CGROUP is the cgroup of the attempt, and belongs to it.

# Ends the attempt, but keeps its processes until oomwhy was checked.
finish() {
    echo "done"
    exec sleep 100000
}

# Touches memory in a known function until the process is killed. The script itself may not be
# killed, because it goes on after the kill of a child.
eat() {
    settle
    sh -c 'echo 0 >/proc/self/oom_score_adj && exec /bin/c-static 200'
}

# Waits until the memory of earlier victims is gone. Otherwise there is none for a new process,
# because the script itself cannot be killed. This starts no process.
settle() {
    count=0
    while read -r now <"$CGROUP/memory.current" && [ "$now" -gt 33554432 ] && [ $count -lt 100000 ]
    do
        count=$((count + 1))
    done
}

# Starts one of the workloads of the tests.
hog() {
    settle
    /bin/hog --oom-score-adj 0 "$@"
}

# Moves this process into a child, so that other children can have the memory controller.
make_room() {
    mkdir "$CGROUP/own"
    echo $$ >"$CGROUP/own/cgroup.procs"
    echo +memory >"$CGROUP/cgroup.subtree_control"
}

# Eats memory in a cgroup below that of the attempt.
eat_in() {
    settle
    (
        mkdir -p "$CGROUP/$1"
        cd "$CGROUP/$1" || exit
        sh -c 'echo 0 >/proc/self/oom_score_adj && echo $$ >cgroup.procs && exec /bin/c-static 200'
    )
}

# Prints 64 hex digits: the id of a container that does not exist.
container_id() {
    printf '%064x' "$1"
}

# Where files of a rootless container are, by its id.
userdata() {
    echo "/run/user/1000/containers/overlay-containers/$1/userdata"
}
