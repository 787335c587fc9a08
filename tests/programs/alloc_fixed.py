"""Allocates the same amount (the last argument, MiB) in each of several functions, each another kind
of memory, then without end. See alloc_fixed.c.

With `-X perf` each function has its own frame with a name, between frames of an interpreter with
frame pointers. Two kinds of memory are missing. The size of a call's stack is unknown. MAP_POPULATE
charges everything within the C library's mmap, which uses the register of the frame pointer for
another purpose.
"""

import _thread
import mmap
import os
import sys

PAGE = 4096
MIB = 1 << 20
BLOCK = 64 << 10
DISK = "/dev/nvme0n1"

# A bytes object of 207 bytes takes 240 bytes (sys.getsizeof). 68 of them fit into a pool of 16 KiB and
# leave less room than any other size. The list has 8 bytes for each object.
SMALL = 207
SMALL_TAKES = (16 << 10) / 68 + 8


def touch_pages(memory):
    for at in range(0, len(memory), PAGE):
        memory[at] = 1


def mapped(amount, flags):
    return mmap.mmap(-1, amount, flags | mmap.MAP_ANONYMOUS)


def by_small(amount):
    """Allocates with the interpreter's own allocator."""
    kept = [None] * int(amount / SMALL_TAKES)
    for at in range(len(kept)):
        kept[at] = bytes(SMALL)
    return kept


def by_large(amount):
    """Allocates with a mapping of malloc, which the C library fills."""
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
    """Fills the page cache of a disk."""
    disk = os.open(DISK, os.O_RDONLY)
    block = bytearray(BLOCK)
    for _ in range(amount // BLOCK):
        os.readv(disk, [block])


def in_thread(memory, done):
    touch_pages(memory)
    done.release()


def in_child(memory):
    """Writes to the parent's memory, so the kernel copies each page. The child's perf map has this
    function, but not its callers."""
    touch_pages(memory)


def until_killed():
    kept = []
    while True:
        kept.append(mapped(MIB, mmap.MAP_PRIVATE))
        touch_pages(kept[-1])


def copy_on_write(memory):
    """Waits until the child has written. The child lives as long as this process."""
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
