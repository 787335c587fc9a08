"""A FUSE file system whose root has one file, `code`. It answers until it is told to hang."""

import _struct
import errno
import os

from attack import run

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, INTERRUPT, BATCH_FORGET = 26, 27, 36, 42
ROOT, FILE = 1, 2


class Server:
    def __init__(self, content):
        self.content = content
        self.device = os.open("/dev/fuse", os.O_RDWR)
        self.hangs = set()

    def mount(self, directory):
        """Mounts it. This needs CAP_SYS_ADMIN, in a user namespace at least."""
        os.set_inheritable(self.device, True)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        run("mount", "-i", "-t", "fuse", "-o", options, "none", directory)

    def attributes(self, node):
        mode = 0o040755 if node == ROOT else 0o100755
        size = 0 if node == ROOT else len(self.content)
        return _struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def answer(self, opcode, node, body):
        """Bytes, or an error number, or None for no answer."""
        if opcode in self.hangs or opcode in (FORGET, INTERRUPT, BATCH_FORGET):
            return None
        if opcode == INIT:
            return _struct.pack("<IIIIHHIIHHI7I", 7, 31, 4096, 0, 1, 1, 4096, 1, 1, 0, 0, *[0] * 7)
        if opcode == LOOKUP and body.rstrip(b"\0") == b"code":
            return _struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + self.attributes(FILE)
        if opcode == GETATTR:
            return _struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if opcode == STATFS:
            return _struct.pack("<5Q4I6I", 1, 1, 1, 1, 1, 4096, 255, 4096, 0, *[0] * 6)
        if opcode in (OPEN, OPENDIR):
            return _struct.pack("<QII", 1, 0, 0)
        if opcode == READ:
            _, offset, size = _struct.unpack_from("<QQI", body)
            return bytes(self.content[offset : offset + size])
        if opcode in (FLUSH, RELEASE):
            return b""
        return errno.ENOENT if opcode == LOOKUP else errno.ENOSYS

    def serve(self, n_requests=None):
        """Answers so many requests, or until killed."""
        while n_requests is None or n_requests > 0:
            request = os.read(self.device, 1 << 20)
            _, opcode, unique, node = _struct.unpack_from("<IIQQ", request)
            answer = self.answer(opcode, node, request[40:])
            if isinstance(answer, bytes):
                head = _struct.pack("<IiQ", 16 + len(answer), 0, unique)
                os.write(self.device, head + answer)
            elif answer is not None:
                os.write(self.device, _struct.pack("<IiQ", 16, -answer, unique))
            if n_requests is not None:
                n_requests -= 1
