"""Allocates in a function of the interpreter (the last argument, MiB)."""

import sys

# The sum of a float (24 bytes) and a pair (72 bytes).
PAIRS_PER_MIB = (1 << 20) // 96


def grow_in_python(mib):
    kept = None
    for number in range(mib * PAIRS_PER_MIB):
        # Small objects, which the interpreter allocates itself.
        kept = (number + 0.5, kept)
    return kept


print("ready", grow_in_python(int(sys.argv[-1]))[0])
