#!/usr/bin/env python3
"""Lint that the compiler does not do. Prints file:line: what is wrong; fails if anything is.

Checked: line length, tabs, spaces at ends of lines, banned calls, words that promise later work,
head comments, include guards, length of files and functions, files that nothing builds or includes,
and modules that no test includes.

tools/tidy_allow.txt lists what was there before its rule, and may only shrink: an entry that is no
longer needed is an error too.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOW_FILE = ROOT / "tools" / "tidy_allow.txt"

LINE_MAX = 100
SCRIPT_LINE_MAX = 160  # of what no formatter wraps: the end-to-end tests and shell scripts
FILE_LINES_MAX = 1500
FUNCTION_LINES_MAX = 70
TEST_LINES_MAX = 120  # a test may hold its table

BANNED = {
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "strcpy": "memcpy with a length",
    "strncpy": "memcpy with a length",
    "strcat": "struct buf",
    "strncat": "struct buf",
    "gets": "a bounded read",
    "rand": "base/rng.h",
    "srand": "base/rng.h",
    "atoi": "base/parse.h",
    "atol": "base/parse.h",
    "atoll": "base/parse.h",
    "atof": "base/parse.h",
    "strtok": "a cursor",
    "alloca": "struct arena",
    "system": "no shell",
    "gmtime": "base/time.h",
    "localtime": "base/time.h",
    "asctime": "base/time.h",
    "ctime": "base/time.h",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
# Spelled in halves, so that this file passes its own check.
LATER_WORDS = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b")
# No part of the tree may name a place outside of it.
FOREIGN_PATH = re.compile("/wo" + r"rk/\w")

C_FOLDERS = ("src", "sim", "client", "bench")
TEXT_SUFFIXES = {".c", ".h", ".py", ".sh", ".build", ".md", ".msg", ".java", ".js", ".go", ".yml"}
LONG_LINES_OK = {".md", ".msg", ".java", ".js", ".go", ".build", ".yml"}
TABS_OK = {".go"}

# Folders whose modules are tested by unit tests; the rest by the end-to-end tests.
UNIT_TESTED = ("src/base", "src/wire", "src/log", "src/repl", "src/meta", "src/quorum", "src/coord")

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
SIGNATURE_NAME = re.compile(r"(\w+)\s*\(")


class Tidy:
    def __init__(self):
        self.problems = []
        self.allowed = self.load_allowed()
        self.used = set()

    def load_allowed(self):
        """{('long-function', 'src/a.c:name'): 90, ('no-test', 'src/b.c'): None}"""
        allowed = {}
        if ALLOW_FILE.exists():
            for line in ALLOW_FILE.read_text().splitlines():
                words = line.split("#")[0].split()
                if words:
                    allowed[(words[0], words[1])] = int(words[2]) if len(words) > 2 else None
        return allowed

    def report(self, path, number, message):
        self.problems.append(f"{path}:{number}: {message}")

    def allows(self, rule, what, size=None):
        """Whether the list excuses it: at most as bad as it was."""
        key = (rule, what)
        if key not in self.allowed:
            return False
        self.used.add(key)
        return size is None or size <= self.allowed[key]

    def check_text(self, path, suffix, text):
        if text and not text.endswith("\n"):
            self.report(path, text.count("\n") + 1, "no newline at the end of the file")
        is_strict = suffix in (".c", ".h") or path.startswith("tools/")
        line_max = LINE_MAX if is_strict else SCRIPT_LINE_MAX
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > line_max and suffix not in LONG_LINES_OK:
                self.report(path, number, f"{len(line)} columns; at most {line_max}")
            if "\t" in line and suffix not in TABS_OK:
                self.report(path, number, "a tab")
            if line != line.rstrip():
                self.report(path, number, "white space at the end of the line")
            match = LATER_WORDS.search(line)
            if match:
                self.report(path, number, f"{match[1]}: do it, or leave it out")
            if FOREIGN_PATH.search(line):
                self.report(path, number, "a path outside of the tree")

    def check_c(self, path, text):
        if not text.startswith("/*"):
            self.report(path, 1, "no head comment: what it is, formats, invariants, who runs it")
        lines = text.split("\n")
        if len(lines) - 1 > FILE_LINES_MAX:
            self.report(path, FILE_LINES_MAX, f"{len(lines) - 1} lines; split the second concern")
        code = COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text).split("\n")
        for number, line in enumerate(code, 1):
            match = BANNED_CALL.search(line)
            if not match or path.endswith("_test.c"):
                continue
            if not self.allows("banned-call", f"{path}:{match[1]}"):
                self.report(path, number, f"{match[1]}() is banned; use {BANNED[match[1]]}")
        self.check_functions(path, code)
        if path.endswith(".h"):
            self.check_guard(path, text)

    def check_functions(self, path, code):
        """A function is what stands between a lone { and a lone } in the first column."""
        start = None
        for number, line in enumerate(code, 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                self.check_function(path, code, start, number)
                start = None

    def check_function(self, path, code, start, end):
        size = end - start + 1
        size_max = TEST_LINES_MAX if path.endswith("_test.c") else FUNCTION_LINES_MAX
        if size <= size_max:
            return
        first = start - 1
        while first > 0 and code[first - 1].strip() and not code[first - 1].startswith("}"):
            first -= 1
        match = SIGNATURE_NAME.search(" ".join(code[first : start - 1]))
        name = match[1] if match else "?"
        if not self.allows("long-function", f"{path}:{name}", size):
            self.report(path, start, f"{name} has {size} lines; at most {size_max}")

    def check_guard(self, path, text):
        parts = Path(path).with_suffix("").parts
        parts = parts[1:] if parts[0] == "src" else parts
        guard = re.sub(r"\W", "_", "_".join(parts)).upper() + "_H"
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            self.report(path, 1, f"the include guard must be {guard}")

    def check_reached(self, texts):
        """Every .c is named in its folder's meson.build, every .h is included by something."""
        included = set()
        for path, text in texts.items():
            included.update(h for h in INCLUDE.findall(text) if not path.endswith(h))
        for path in texts:
            if path.endswith(".h"):
                short = path.removeprefix("src/")
                if short not in included and not self.allows("not-included", path):
                    self.report(path, 1, "nothing includes this header")
            elif not self.is_built(Path(path)):
                self.report(path, 1, f"no meson.build builds it: {Path(path).parent}/meson.build")

    def is_built(self, file):
        """Tests are built in a loop over names, so the name without _test or _fuzz counts too."""
        names = {file.name, file.stem, re.sub(r"_(test|fuzz|bench)$", "", file.stem)}
        for folder in (file.parent, *file.parent.parents):
            build = ROOT / folder / "meson.build"
            if build.exists():
                text = build.read_text()
                inside = [n for n in names if re.search(rf"['/]{re.escape(n)}'", text)]
                if inside:
                    return True
        return False

    def check_tests(self, texts):
        """A module, that is a .c with a .h, is tested if it has a test of its name or if a test
        includes its header."""
        tests = {p: t for p, t in texts.items() if p.endswith("_test.c")}
        headers = set()
        for text in tests.values():
            headers.update(INCLUDE.findall(text))
        for path in texts:
            file = Path(path)
            if not path.startswith(UNIT_TESTED) or file.suffix != ".c":
                continue
            if re.search(r"_(test|fuzz|bench)$", file.stem):
                continue
            has_test = f"{file.parent}/{file.stem}_test.c" in tests
            header = file.with_suffix(".h").as_posix()
            if not (ROOT / header).exists() or has_test:
                continue
            if header.removeprefix("src/") not in headers and not self.allows("no-test", path):
                self.report(path, 1, f"no test: write {file.stem}_test.c beside it")

    def check_unused_allowances(self):
        for rule, what in self.allowed:
            if (rule, what) not in self.used:
                self.report("tools/tidy_allow.txt", 1, f"no longer needed, remove: {rule} {what}")

    def run(self):
        texts = {}
        for file in source_files():
            path = file.relative_to(ROOT).as_posix()
            try:
                text = file.read_text()
            except UnicodeDecodeError:
                self.report(path, 1, "not UTF-8")
                continue
            self.check_text(path, file.suffix, text)
            if file.suffix in (".c", ".h") and path.startswith(C_FOLDERS):
                self.check_c(path, text)
                texts[path] = text
        self.check_reached(texts)
        self.check_tests(texts)
        self.check_unused_allowances()
        for problem in sorted(self.problems):
            print(problem)
        if self.problems:
            print(f"tidy: {len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}")
        return 1 if self.problems else 0


def source_files():
    skip = {"build", ".git", "node_modules", "__pycache__", "corpus", "data", "target", ".cache"}
    folders = [ROOT]
    while folders:
        for entry in sorted(folders.pop().iterdir()):
            if entry.name in skip or entry.is_symlink():
                continue
            if entry.is_dir():
                folders.append(entry)
            elif entry.suffix in TEXT_SUFFIXES or entry.name == "dev":
                yield entry


if __name__ == "__main__":
    sys.exit(Tidy().run())
