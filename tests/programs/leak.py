"""Takes as many MiB as its last argument says, in a function of the interpreter."""

import sys

# A float of 24 bytes and a pair of 72.
PAIRS_PER_MIB = (1 << 20) // 96


def grow_in_python(mib):
    kept = None
    for number in range(mib * PAIRS_PER_MIB):
        # Small objects, which the interpreter itself makes room for.
        kept = (number + 0.5, kept)
    return kept


print("ready", grow_in_python(int(sys.argv[-1]))[0])
