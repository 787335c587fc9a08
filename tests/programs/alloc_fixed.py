"""Takes the same amount, as many MiB as its last argument says, in each of several functions, one kind
of memory each; then memory without end. See alloc_fixed.c.

By `-X perf` each function has a frame of its own with a name, between those of an interpreter with
frame pointers. Two kinds are missing: the stack, of which a call takes what the interpreter likes, so
that no known number of bytes can be asked for; and MAP_POPULATE, where all is charged within the C
library's mmap, which uses the register of the frame pointer for something else.
"""

import _thread
import mmap
import os
import sys

PAGE = 4096
MIB = 1 << 20
BLOCK = 64 << 10
DISK = "/dev/nvme0n1"

# A bytes object of 207 takes 240 (sys.getsizeof), of which 68 fit into a pool of 16 KiB, as many as with
# no other size; and the list has 8 for each.
SMALL = 207
SMALL_TAKES = (16 << 10) / 68 + 8


def touch_pages(memory):
    for at in range(0, len(memory), PAGE):
        memory[at] = 1


def mapped(amount, flags):
    return mmap.mmap(-1, amount, flags | mmap.MAP_ANONYMOUS)


def by_small(amount):
    """The interpreter's own allocator makes room."""
    kept = [None] * int(amount / SMALL_TAKES)
    for at in range(len(kept)):
        kept[at] = bytes(SMALL)
    return kept


def by_large(amount):
    """malloc makes a mapping, and the C library fills it."""
    return b"x" * amount


def by_mmap(amount):
    memory = mapped(amount, mmap.MAP_PRIVATE)
    touch_pages(memory)
    return memory


def shared(amount):
    memory = mapped(amount, mmap.MAP_SHARED)
    touch_pages(memory)
    return memory


def by_file(amount):
    """The page cache of a disk."""
    disk = os.open(DISK, os.O_RDONLY)
    block = bytearray(BLOCK)
    for _ in range(amount // BLOCK):
        os.readv(disk, [block])


def in_thread(memory, done):
    touch_pages(memory)
    done.release()


def in_child(memory):
    """What was its parent's: each page is copied. The child's perf map has this, not who calls it."""
    touch_pages(memory)


def until_killed():
    kept = []
    while True:
        kept.append(mapped(MIB, mmap.MAP_PRIVATE))
        touch_pages(kept[-1])


def copy_on_write(memory):
    """Waits until the child has written. It lives as long as this process does."""
    done, end = os.pipe(), os.pipe()
    if os.fork() == 0:
        in_child(memory)
        os.write(done[1], b".")
        os.close(end[1])
        os.read(end[0], 1)
        os._exit(0)
    os.read(done[0], 1)


def beside(memory):
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(in_thread, (memory, done))
    done.acquire()


def main(amount):
    by_file(amount)
    large = by_mmap(amount)
    copy_on_write(large)
    kept = [large, by_small(amount), by_large(amount), shared(amount)]
    kept.append(mapped(amount, mmap.MAP_PRIVATE))
    beside(kept[-1])
    print("ready", flush=True)
    until_killed()


main(int(sys.argv[-1]) * MIB)
