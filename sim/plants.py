#!/usr/bin/env python3
"""Proves that the simulator sees: plants each bug of src/base/plant.h and demands that it is found.

    sim/plants.py [--seeds N] [NAME ...]

Builds the log, or the coordinator, with the bug in build/plants, and runs its simulation until a seed
fails: that of a log, without and with compaction, or that of a coordinator and its members. Exit code 1 names the bugs that N seeds did not show.
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
LOG_WORLDS = ["sim/log_sim_test", "sim/compact_sim_test"]
COORD_WORLDS = ["sim/coord_sim_test"]


def worlds_of(name):
    return COORD_WORLDS if name.startswith("coord_") else LOG_WORLDS


def planted_names():
    text = (ROOT / "src/base/plant.h").read_text()
    names = re.findall(r"^    PLANT_([A-Z_]+)", text, re.M)
    return [name.lower() for name in names if name != "NONE"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def build(name, worlds):
    how = ["--reconfigure"] if BUILD.exists() else []
    steps = [
        ["meson", "setup", *how, str(BUILD), "--buildtype=debugoptimized", f"-Dplant={name}"],
        ["ninja", "-C", str(BUILD), "-j2", *worlds],
    ]
    for step in steps:
        done = run(*step)
        if done.returncode != 0:
            sys.exit(f"{' '.join(step)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def find(seeds, worlds):
    """The message of the first seed that fails, or None."""
    for first in range(1, seeds + 1, STEP):
        for world in worlds:
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
        worlds = worlds_of(name)
        build(name, worlds)
        start = time.monotonic()
        found = find(options.seeds, worlds)
        print(f"{name:24} {found or 'NOT FOUND'}  ({time.monotonic() - start:.1f} s)", flush=True)
        if not found:
            missed.append(name)
    build("", LOG_WORLDS + COORD_WORLDS)
    if find(STEP, LOG_WORLDS + COORD_WORLDS):
        sys.exit("without a planted bug a seed fails too: the proof proves nothing")
    if missed:
        sys.exit(f"not found in {options.seeds} seeds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
