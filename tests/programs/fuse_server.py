"""A FUSE file system for tests: `fuse_server.py DIRECTORY`. It has a regular file `file`. It reads
requests to read it, and to look up the name `hangs`, and never answers them. Writes one byte to
stdout when it is mounted."""

import ctypes
import errno
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS = 1, 2, 3, 14, 15, 17
INIT, OPENDIR, INTERRUPT, BATCH_FORGET = 26, 27, 36, 42
ROOT, FILE = 1, 2


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
    numbers = [node, 7, 1, 0, 0, 0], [0, 0, 0, mode, 1, os.geteuid(), os.getegid(), 0, 4096, 0]
    return struct.pack("<6Q10I", *numbers[0], *numbers[1])


def answer(opcode, node, body):
    """The bytes of an answer, an error number, or None for no answer."""
    name = body.rstrip(b"\0")
    if opcode == INIT:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 4096, 0, 1, 1, 4096, 1, 1, 0, 0, *[0] * 7)
    if opcode == LOOKUP and name == b"file":
        return struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + attributes(FILE)
    if opcode == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + attributes(node)
    if opcode == STATFS:
        return struct.pack("<5Q4I6I", 1, 1, 1, 1, 1, 4096, 255, 4096, 0, *[0] * 6)
    if opcode in (OPEN, OPENDIR):
        return struct.pack("<QII", 1, 0, 0)
    if opcode in (READ, FORGET, INTERRUPT, BATCH_FORGET) or (opcode, name) == (LOOKUP, b"hangs"):
        return None
    return errno.ENOENT if opcode == LOOKUP else errno.ENOSYS


def main():
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [b"fuse_server", sys.argv[1].encode(), b"fuse", 6, options.encode()]
    if libc.mount(*arguments) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    os.write(1, b"r")
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        result = answer(opcode, node, request[40:])
        if isinstance(result, bytes):
            os.write(device, struct.pack("<IiQ", 16 + len(result), 0, unique) + result)
        elif result is not None:
            os.write(device, struct.pack("<IiQ", 16, -result, unique))


main()
