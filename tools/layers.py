#!/usr/bin/env python3
"""Includes go downward only. Reads every #include under src/ and sim/ and fails on one that climbs.

    base <- wire <- quorum, meta, coord        pure: no I/O, no clock, no threads
    base <- io
    wire, io/io.h <- log <- repl               I/O through io.h alone
    all of these <- broker <- cli, sim, main.c

Unit tests may also use the simulated world and the real I/O. docs/architecture.md has the reasons.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# For each layer, what it may include besides itself: a folder, or one header of a folder.
ALLOWED = {
    "base": [],
    "wire": ["base"],
    "io": ["base"],
    "quorum": ["base", "wire"],
    "meta": ["base", "wire"],
    "coord": ["base", "wire"],
    "log": ["base", "wire", "io/io.h"],
    "repl": ["base", "wire", "io/io.h", "log"],
    "broker": ["base", "wire", "io", "quorum", "meta", "coord", "log", "repl"],
    "cli": ["base", "wire", "io", "quorum", "meta", "coord", "log", "repl", "broker"],
    "sim": ["base", "wire", "io", "quorum", "meta", "coord", "log", "repl", "broker"],
    "main": ["base", "wire", "io", "quorum", "meta", "coord", "log", "repl", "broker", "cli"],
}
TEST_ALLOWED = ["base", "wire", "io", "sim"]

# Generated into the build folder.
GENERATED = {"wire/messages.h"}

# A folder's internal.h is for that folder, and io's also for the world that stands in for it.
INTERNAL_GUESTS = {"io/internal.h": {"sim"}}

IO_HEADERS = re.compile(
    r"(sys/(socket|epoll|eventfd|timerfd|signalfd|stat|statvfs|statfs|mman|uio|file|ioctl|sendfile"
    r"|select|un|wait|resource|inotify|vfs)|fcntl|unistd|netinet/.*|arpa/.*|netdb|net/.*|dirent"
    r"|poll|liburing|linux/.*|termios)\.h|liburing\.h"
)
THREAD_AND_CLOCK_HEADERS = re.compile(r"(pthread|threads|time|sys/time|signal|sched|semaphore)\.h")

# Who may touch the system's I/O, threads and clocks. Tests may.
IO_FILES = re.compile(
    r"src/io/.*|src/broker/(http|outside)\.c|src/cli/.*|src/main\.c|sim/main\.c"
    r"|src/base/(diag|assert)\.c"
)
PURE = {"base", "wire", "quorum", "meta", "coord", "log", "repl"}

# Calls that reach the outside without one of those headers.
OUTSIDE_CALL = re.compile(
    r"\b(fopen|freopen|tmpfile|printf|fprintf|puts|putchar|perror|getenv|setenv|system|popen|random"
    r"|srandom|rand|srand|getrandom|clock_gettime|gettimeofday|abort|exit)\s*\("
)

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)


def layer_of(path):
    """'src/log/log.c' -> 'log'; 'src/main.c' -> 'main'; 'sim/world.c' -> 'sim'."""
    parts = path.split("/")
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else parts[1].removesuffix(".c")
    return parts[0]


def is_test(path):
    return path.endswith(
        ("_test.c", "_fuzz.c", "_bench.c", "/testing.h", "/fuzzing.h")
    )


def may_include(path, header):
    layer, target = layer_of(path), header.split("/")[0]
    if target == layer:
        return True
    allowed = ALLOWED[layer] + (TEST_ALLOWED if is_test(path) else [])
    return target in allowed or header in allowed


def check_project_include(path, header):
    if header in GENERATED:
        exists = True
    else:
        exists = (ROOT / "src" / header).is_file() or (
            header.startswith("sim/") and (ROOT / header).is_file()
        )
    if not exists:
        return f'"{header}" is not a header; write includes from src/, as "base/err.h"'
    if header.endswith("/internal.h"):
        guests = INTERNAL_GUESTS.get(header, set())
        owner = header.split("/")[0]
        if layer_of(path) not in guests | {owner}:
            return f'"{header}" is private to {owner}/'
    if not may_include(path, header):
        layer = layer_of(path)
        return f'{layer} may not include "{header}"; it may include: {", ".join(ALLOWED[layer])}'
    return None


def check_system_include(path, header):
    if is_test(path) or IO_FILES.fullmatch(path):
        return None
    if IO_HEADERS.fullmatch(header):
        return f"<{header}> is for src/io, http.c, outside.c, cli/ and main.c; go through io/io.h"
    if layer_of(path) in PURE and THREAD_AND_CLOCK_HEADERS.fullmatch(header):
        return f"<{header}>: time and threads come into {layer_of(path)} as data"
    return None


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def check_file(path, text):
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            check = check_project_include if match[1] == '"' else check_system_include
            message = check(path, match[2])
            if message:
                found.append((number, message))
    if layer_of(path) in PURE and not is_test(path) and not IO_FILES.fullmatch(path):
        for number, line in enumerate(COMMENT_OR_STRING.sub(blank, text).split("\n"), 1):
            match = OUTSIDE_CALL.search(line)
            if match:
                found.append((number, f"{match[1]}() reaches outside of a pure module"))
    return found


def main():
    problems = 0
    for top in ("src", "sim"):
        for file in sorted((ROOT / top).rglob("*.[ch]")):
            path = file.relative_to(ROOT).as_posix()
            if layer_of(path) not in ALLOWED:
                print(f"{path}:1: no layer has this folder; see tools/layers.py")
                problems += 1
                continue
            for number, message in check_file(path, file.read_text()):
                print(f"{path}:{number}: {message}")
                problems += 1
    if problems:
        print(f"layers: {problems} problem{'s' if problems > 1 else ''}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
