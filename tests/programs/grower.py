"""Takes as many MiB as its last argument says, in a function of the interpreter."""

import sys

INTS_PER_MIB = 1 << 15


def grow_in_python(mib):
    kept = []
    for _ in range(mib):
        # A small object each, and none of those that there are already.
        kept.append([number + 0.5 for number in range(INTS_PER_MIB)])
    return kept


print("ready", len(grow_in_python(int(sys.argv[-1]))))
