"""What the attempts in Python share. They run with `-X perf`: code of each function is made at run
time and named in /tmp/perf-PID.map, so the frames of a victim are looked up there."""

import mmap
import os
import sys
import time

BAIT = os.environ["BAIT"]
SECRET = os.environ["SECRET"]
CGROUP = os.environ["CGROUP"]
NEIGHBOR = os.environ["NEIGHBOR"]
PAGE = 4096
# The limit is 48 MiB.
ROOM_BYTES = 32 << 20
kept = []


def eat():
    """Touches memory until the process is killed."""
    while True:
        kept.append(b"x" * (1 << 20))


def settle():
    """Waits until the memory of earlier victims is gone. Otherwise there is none for a new process,
    because the script itself cannot be killed."""
    for _ in range(200):
        if int(read(CGROUP + "/memory.current")) < ROOM_BYTES:
            return
        time.sleep(0.05)


def may_be_killed():
    """The script itself may not be killed: it goes on after the kill of a child."""
    write("/proc/self/oom_score_adj", b"0")


def in_child(prepare):
    """Prepares in a child, which is then killed."""
    settle()
    child = os.fork()
    if child == 0:
        try:
            may_be_killed()
            prepare()
            eat()
        except BaseException as error:
            print("failed:", error, flush=True)
        os._exit(1)
    os.waitpid(child, 0)


def finish():
    """Ends the attempt, but keeps its processes until oomwhy was checked."""
    print("done", flush=True)
    time.sleep(100000)


def finish_without_fuse():
    """Ends the attempt if this kernel has no FUSE. A container has the device's node even then."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        print("not run: this kernel has no FUSE", flush=True)
        finish()


def perf_map():
    """The path at which this process describes the code that it made."""
    return f"/tmp/perf-{os.getpid()}.map"


def remove(path):
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def map_code(path):
    """Maps a file as code. The kernel then lists it in /proc/PID/maps."""
    descriptor = os.open(path, os.O_RDONLY)
    kept.append(mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC))
    os.close(descriptor)


def map_and_replace(replace):
    """Maps a file as code, and then puts something else at its path."""

    def prepare():
        path = "/tmp/code"
        remove(path)
        write(path, read("/bin/c-static"))
        map_code(path)
        replace(path)

    in_child(prepare)


def start(path, *words):
    """Starts a program."""
    child = os.fork()
    if child == 0:
        try:
            may_be_killed()
            os.execv(path, [path, *words])
        finally:
            os._exit(127)
    return child


def run(path, *words):
    """Runs a program to its end. A name without a path is a command of busybox."""
    path = path if "/" in path else "/bin/" + path
    _, status = os.waitpid(start(path, *words), 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        print("failed:", path, *words, flush=True)
    return status


def in_background(work):
    """Runs a function in another process."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print("failed:", error, flush=True)
        os._exit(0)
    return child


def make_room():
    """Moves this process into a child of its cgroup, so that others can have a memory limit."""
    os.mkdir(CGROUP + "/own")
    write(CGROUP + "/own/cgroup.procs", b"%d" % os.getpid())
    write(CGROUP + "/cgroup.subtree_control", b"+memory")


def eat_in(path):
    """Makes a cgroup at this path, and eats memory in it until killed."""
    os.makedirs(path, exist_ok=True)

    def prepare():
        write(path + "/cgroup.procs", b"%d" % os.getpid())

    in_child(prepare)
