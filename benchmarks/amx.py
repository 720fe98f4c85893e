"""What the AMX kernels of an x86 CPU cost a small network: our files with them and without them, taking turns.

    python benchmarks/amx.py FOLDER …           (writes results/amx.json and results/amx.md; on a CPU that has AMX)
    python benchmarks/amx.py --without COMMAND …  (any command in a process that may not use AMX)

A process on Linux has to ask before it uses AMX (`arch_prctl(ARCH_REQ_XCOMP_PERM)`, Linux's Documentation/arch/x86/
xstate.rst). A seccomp filter refuses that here, so that a runtime takes the kernels that it has for the same CPU
without AMX.
"""

import argparse
import ctypes
import json
import os
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from figures import ratio, write

from mnist_edge.bench.timing import interleave
from mnist_edge.core.host import has_amx
from mnist_edge.core.manifest import Manifest
from mnist_edge.formats import FORMATS, runtime_versions

ROUNDS, RUNS, WARM_UP = 5, 1000, 300
ARCH_PRCTL, REQUEST, PERMITTED, TILES = 158, 0x1023, 0x1022, 18  # x86-64's call, two of its codes, AMX's bit
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38


def refuse() -> None:
    """Let this process, and those that it starts, be refused AMX from now on."""
    load, equal, answer = 0x20, 0x15, 0x06
    number, first_argument = 0, 16  # offsets in struct seccomp_data
    no, allow = 0x00050001, 0x7FFF0000  # EPERM, and the call itself
    steps = [
        (load, 0, 0, number),
        (equal, 0, 3, ARCH_PRCTL),
        (load, 0, 0, first_argument),
        (equal, 0, 1, REQUEST),
        (answer, 0, 0, no),
        (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter could be set")


def used() -> bool:
    """Return whether this process has been given AMX: a runtime that it loaded asked for it."""
    mask = ctypes.c_uint64()
    libc = ctypes.CDLL(None)
    return has_amx() and libc.syscall(ARCH_PRCTL, PERMITTED, ctypes.byref(mask)) == 0 and bool(mask.value >> TILES & 1)


def timed(folders: list[Path]) -> dict[str, Any]:
    """Return whether this process used AMX, and the samples in ns of each file, pixels to probabilities."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28)).astype(np.uint8)
    with ExitStack() as stack:
        calls = {}
        for artifact in (item for folder in folders for item in Manifest.read(folder).artifacts):
            runner = stack.enter_context(FORMATS[artifact.format].open(artifact.path))
            calls[artifact.path.name] = lambda run=runner.run: run(pixels)
        times = interleave(calls, RUNS, WARM_UP)
    return {"amx": used(), "samples": {name: stats.samples_ns.tolist() for name, stats in times.items()}}


def table(rounds: dict[str, list[dict[str, Any]]]) -> str:
    """Return one line a file."""
    lines = ["| file | p50 without AMX, µs | with AMX, µs | with, beside without |", "|---|---|---|---|"]
    for name in rounds["with"][0]["samples"]:
        middles = {kind: [median(item["samples"][name]) / 1000 for item in items] for kind, items in rounds.items()}
        cells = [f"{median(middles[kind]):.1f}" for kind in ("without", "with")]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {ratio(middles['with'], middles['without'])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Time the files, or run a command without AMX."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", nargs=argparse.REMAINDER, metavar="COMMAND")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    options = parser.parse_args()
    if options.without:
        refuse()
        os.execvp(options.without[0], options.without)
    if options.once:
        print(json.dumps(timed(options.folders)))
        return
    if not has_amx():
        raise SystemExit("this CPU has no AMX: nothing to compare")
    command = [sys.executable, __file__, "--once", *map(str, options.folders)]
    both = {"without": [sys.executable, __file__, "--without", *command], "with": command}
    rounds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in both}
    for _ in range(ROUNDS):
        for kind, line in both.items():
            done = subprocess.run(line, check=True, capture_output=True, text=True)
            rounds[kind].append(json.loads(done.stdout.splitlines()[-1]))
            if rounds[kind][-1]["amx"] != (kind == "with"):
                raise SystemExit(f"the process that was to run {kind} AMX did not")
    write("amx", {"versions": runtime_versions(), "rounds": rounds}, table(rounds))


if __name__ == "__main__":
    main()
