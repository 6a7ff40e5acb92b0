#!/usr/bin/env python3
"""Goal: a wrong schema ends the build with its place and what was expected; nothing wrong gets
through. Method: one good schema, and each mistake as a small change of it."""

import subprocess
import sys
import tempfile
from pathlib import Path

MSGC = Path(__file__).resolve().parent.parent.parent / 'tools' / 'msgc.py'

GOOD = '''api 7 Sample  broker

request 1-5  flexible 3+
  name    string?  2+  = null
  items   []item?4+  # may be null from version 4 on
    id      i32  = -1
    label   string  -3  ignorable
  extra   extra?   3+  tag 0
    size    i64
response 1-5  flexible 3+
  error_code  i16
'''

# (what is replaced, by what, the line blamed, a part of the message)
MISTAKES = [
    ('api 7 Sample  broker', 'api x Sample  broker', 1, 'expected "api KEY NAME'),
    ('api 7 Sample  broker', 'api 7 Sample', 1, 'expected "api KEY NAME'),
    ('api 7 Sample  broker', '  api 7 Sample broker', 1, 'left margin'),
    ('api 7', 'opi 7', 1, 'is not a declaration'),
    ('request 1-5  flexible 3+', 'request 5-1  flexible 3+', 3, 'do not lie in'),
    ('request 1-5  flexible 3+', 'request 1-5  flexible', 3, 'expected "VERSIONS'),
    ('= null', '= nil', 4, 'cannot be a default'),
    ('string?  2+  = null', 'string  2+  = null', 4, 'not nullable'),
    ('string?  2+', 'string?  6+', 4, 'do not lie in 1-5'),
    ('string?  2+', 'strung?  2+', 4, 'there is no type'),
    ('name    string?', 'Name    string?', 4, 'cannot be a field name'),
    ('name    string?', 'default string?', 4, 'cannot be a field name'),
    ('name    string?  2+  = null', 'name', 4, 'expected "NAME TYPE'),
    ('name    string?  2+  = null', 'items  i32', 4, 'two fields of one name'),
    ('i32  = -1', 'i32?', 6, 'cannot be null'),
    ('label   string  -3', 'label   string  = 5', 7, 'only numbers'),
    ('    label ', '   label ', 7, 'begin in one column'),
    ('extra?   3+  tag 0', 'extra?   2+  tag 0', 8, 'needs a flexible version'),
    ('tag 0', 'tag', 8, 'is out of place'),
    ('tag 0', 'tag 0 3-4', 8, 'stays tagged'),
    ('    size    i64', '    size    i64  3-4  tag 1 maybe', 9, 'is out of place'),
    ('error_code  i16', 'error_code  i16  = {}', 11, 'only a struct'),
    ('response 1-5', 'response 1-4', None, 'differ in their versions'),
    ('response 1-5  flexible 3+\n  error_code  i16\n', '', None, 'needs a request and a response'),
]


def run(folder, text):
    schema = folder / 'sample.msg'
    schema.write_text(text, encoding='utf-8')
    return subprocess.run(
        [sys.executable, MSGC, folder / 'messages.h', folder / 'messages.c', schema],
        capture_output=True, text=True, check=False)


def check(condition, text):
    if not condition:
        sys.exit(f'msgc_test: {text}')


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = run(folder, GOOD)
        check(good.returncode == 0, good.stderr)
        header = (folder / 'messages.h').read_text(encoding='utf-8')
        for part in ('struct sample_request_item *items;\n    int32_t items_len;',
                     'struct sample_request_extra *extra;', 'struct str name;',
                     'extern const struct msg_schema sample_response_schema;'):
            check(part in header, f'the header lacks "{part}"')
        for old, new, line, expected in MISTAKES:
            check(old in GOOD, f'"{old}" is not in the schema')
            bad = run(folder, GOOD.replace(old, new, 1))
            check(bad.returncode != 0, f'"{new}" is accepted')
            check(expected in bad.stderr, f'"{new}": {bad.stderr}')
            check('Traceback' not in bad.stderr, bad.stderr)
            if line:
                check(f'sample.msg:{line}: ' in bad.stderr, f'"{new}": {bad.stderr}')
    print(f'msgc: {len(MISTAKES)} mistakes are told')


if __name__ == '__main__':
    main()
