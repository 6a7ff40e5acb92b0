#!/usr/bin/env python3
"""Proves that the simulator sees: plants each bug of src/base/plant.h and demands that it is found.

    sim/plants.py [--seeds N] [NAME ...]

Builds the log with the bug in build/plants, and runs the simulated world, without and with
compaction, until a seed fails. Exit code 1 names the bugs that N seeds did not show.
"""
import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "plants"
STEP = 25
WORLDS = ["sim/log_sim_test", "sim/compact_sim_test"]


def planted_names():
    text = (ROOT / "src/base/plant.h").read_text()
    names = re.findall(r"^    PLANT_([A-Z_]+)", text, re.M)
    return [name.lower() for name in names if name != "NONE"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def build(name):
    how = ["--reconfigure"] if BUILD.exists() else []
    steps = [
        ["meson", "setup", *how, str(BUILD), "--buildtype=debugoptimized", f"-Dplant={name}"],
        ["ninja", "-C", str(BUILD), "-j2", *WORLDS],
    ]
    for step in steps:
        done = run(*step)
        if done.returncode != 0:
            sys.exit(f"{' '.join(step)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def find(seeds):
    """The message of the first seed that fails, or None."""
    for first in range(1, seeds + 1, STEP):
        for world in WORLDS:
            done = run(str(BUILD / world), str(first), str(first + STEP))
            if done.returncode != 0:
                lines = [line for line in done.stderr.splitlines() if line.startswith("seed ")]
                return lines[-1] if lines else f"a crash in seeds {first} to {first + STEP - 1}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    missed = []
    for name in options.names or planted_names():
        build(name)
        start = time.monotonic()
        found = find(options.seeds)
        print(f"{name:24} {found or 'NOT FOUND'}  ({time.monotonic() - start:.1f} s)", flush=True)
        if not found:
            missed.append(name)
    build("")
    if find(STEP):
        sys.exit("without a planted bug a seed fails too: the proof proves nothing")
    if missed:
        sys.exit(f"not found in {options.seeds} seeds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
