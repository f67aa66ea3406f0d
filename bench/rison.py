"""A million strings for the reader of the API's questions: random ones, and ones made by the grammar and then damaged.

    python -m bench.rison [--strings 1000000] [--seed 7]

Prints the slowest one, the memory that the reader took at most for one, and what it answered. Exits 1 when anything but
ValueError came out, or a plain form read back as something else.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import tracemalloc
from collections import Counter

from app.web import rison

LETTERS = "()!',:[]{}\"\\-.0123456789eEtfn abcz_~%+$@*/&=<>;#\0\n\t\x7f\u00e9\u4e2d\U0001f600\ud800"
ATOMS = [
    "!t",
    "!f",
    "!n",
    "0",
    "-1",
    "1.5",
    "1e5",
    "1e999",
    "-",
    "9" * 30,
    "9" * 4400,
    "''",
    "'a'",
    "'!!'",
    "'!''",
    "a",
    "name",
    "!(",
    ")",
    "(",
    "'",
    "!",
    "1.",
    "1e",
    "--1",
    "-.5",
    "{}",
    "[]",
    '{"a":1}',
    "\0",
    "\ufffe",
]
FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)
MEASURED = 20_000  # strings of which the memory is taken too: that is slow


def made(pick: random.Random, depth: int = 0) -> str:
    """By the grammar, mostly."""
    kind = pick.random()
    if depth > 10 or kind < 0.4:
        return pick.choice(ATOMS)
    if kind < 0.7:
        return f"!({','.join(made(pick, depth + 1) for _ in range(pick.randrange(4)))})"
    pairs = (f"{made(pick, depth + 6)}:{made(pick, depth + 1)}" for _ in range(pick.randrange(4)))
    return f"({','.join(pairs)})"


def string(pick: random.Random) -> str:
    kind = pick.random()
    if kind < 0.4:
        return "".join(pick.choices(LETTERS, k=pick.randrange(60)))
    if kind < 0.45:
        return pick.choice(LETTERS) * pick.randrange(5000)
    if kind < 0.5:
        return "".join(pick.choices(("!(", "(", "a:", "'", "!", "(a:"), k=pick.randrange(2000)))
    text = made(pick)
    for _ in range(pick.randrange(3) if kind > 0.7 else 0):
        at = pick.randrange(len(text) + 1)
        text = text[:at] + pick.choice(LETTERS) + text[at + pick.randrange(3) :]
    return text


def ask(text: str) -> str:
    """How it ended."""
    try:
        value = rison.read(text)
    except ValueError:
        return "refused"
    try:
        rison.plain(value)
    except ValueError:
        return "read, not to be said plainly"
    return "read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    pick, ends, slowest, most = random.Random(chosen.seed), Counter[str](), (0.0, ""), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    for number in range(chosen.strings):
        text = string(pick)
        measured = number < MEASURED
        if measured:
            tracemalloc.start()
        began = time.process_time()
        try:
            ends[ask(text)] += 1
        except FAULTS as fault:
            ends[f"FAULT {type(fault).__name__}"] += 1
            print(f"{type(fault).__name__}: {text[:200]!r}")
        if measured:
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        else:
            slowest = max(slowest, (time.process_time() - began, text))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{chosen.strings:,} strings in {time.monotonic() - started:.0f} s: {dict(ends)}")
    print(
        f"slowest {slowest[0] * 1000:.1f} ms ({slowest[1][:60]!r}), most memory for one {most / 1024:.0f} KB, "
        f"process grew by {grown:.0f} MB"
    )
    return 1 if any(end.startswith("FAULT") for end in ends) else 0


if __name__ == "__main__":
    sys.exit(main())
