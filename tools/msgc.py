#!/usr/bin/env python3
"""Turns message schemas (src/wire/schema/*.msg) into C: structs and the tables codec.c walks.

usage: msgc.py OUT_H OUT_C SCHEMA.msg...

src/wire/schema/README.md describes the language. Every mistake ends the build with file:line: and
what was expected.
"""

import re
import sys

KINDS = {
    'bool': ('MSG_BOOL', 'bool'),
    'i8': ('MSG_I8', 'int8_t'),
    'i16': ('MSG_I16', 'int16_t'),
    'u16': ('MSG_U16', 'uint16_t'),
    'i32': ('MSG_I32', 'int32_t'),
    'u32': ('MSG_U32', 'uint32_t'),
    'i64': ('MSG_I64', 'int64_t'),
    'f64': ('MSG_F64', 'double'),
    'uuid': ('MSG_UUID', 'struct uuid'),
    'string': ('MSG_STRING', 'struct str'),
    'bytes': ('MSG_BYTES', 'struct slice'),
    'records': ('MSG_RECORDS', 'struct slice'),
}
NUMBERS = {'i8', 'i16', 'u16', 'i32', 'u32', 'i64'}
NULLABLE = {'string', 'bytes', 'records'}
C_WORDS = {'auto', 'break', 'case', 'const', 'default', 'do', 'else', 'enum', 'extern', 'for',
           'if', 'int', 'long', 'register', 'return', 'short', 'signed', 'static', 'struct',
           'switch', 'union', 'void', 'volatile', 'while', 'bool', 'true', 'false'}
FAMILIES = {'group': 'RECORD_GROUP', 'transaction': 'RECORD_TRANSACTION',
            'share': 'RECORD_SHARE', 'metadata': 'RECORD_METADATA'}
OPEN = 32767  # MSG_VERSION_NONE
DEPTH_MAX = 8  # MSG_DEPTH_MAX


def fail(where, text):
    sys.exit(f'{where}: {text}')


def snake(name):
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', name).lower()


def camel(name):
    head, *rest = name.split('_')
    return head + ''.join(word.capitalize() for word in rest)


def parse_range(text, where, low, high):
    """'3+', '-12', '3-13' or '5' as a pair, inside of [low, high]."""
    match = re.fullmatch(r'(\d+)\+|-(\d+)|(\d+)-(\d+)|(\d+)', text)
    if not match:
        fail(where, f'"{text}" is not a version range: 3+, -12, 3-13 or 5')
    plus, until, first, last, only = match.groups()
    if plus:
        pair = (int(plus), high)
    elif until:
        pair = (low, int(until))
    elif only:
        pair = (int(only), int(only))
    else:
        pair = (int(first), int(last))
    if pair[0] > pair[1] or pair[0] < low or pair[1] > high:
        fail(where, f'versions {text} do not lie in {low}-{high}')
    return pair


class Field:
    def __init__(self, name, versions):
        self.name, self.versions = name, versions
        self.type = None  # a key of KINDS, or a Struct
        self.array = self.ignorable = self.null_default = self.struct_default = False
        self.nullable = None
        self.tag, self.tag_min = -1, OPEN
        self.default = 0

    @property
    def pointer(self):
        return isinstance(self.type, Struct) and not self.array and self.nullable is not None


class Struct:
    def __init__(self, name, c_name):
        self.name, self.c_name = name, c_name
        self.fields = []

    def depth(self):
        return 1 + max((f.type.depth() for f in self.fields if isinstance(f.type, Struct)),
                       default=0)


class Message:
    """One schema: a request, a response, a key, a value or plain data."""

    def __init__(self, name, header, where):
        self.name, self.c_name = name, snake(name)
        match = re.fullmatch(r'(\d+(?:-\d+)?)(?:\s+flexible\s+(\d+)\+)?', header)
        if not match:
            fail(where, f'expected "VERSIONS [flexible N+]", not "{header}"')
        self.low, self.high = parse_range(match[1], where, 0, OPEN)
        self.flexible = int(match[2]) if match[2] else OPEN
        self.root = Struct(name, self.c_name)
        self.named = {}
        self.structs = []  # in an order in which C can declare them


class Parser:
    def __init__(self, path):
        self.path = path
        self.lines = []  # (number, indent, text)
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                text = line.split('#')[0].rstrip()
                if text:
                    self.lines.append((number, len(text) - len(text.lstrip()), text.strip()))
        self.at = 0
        self.apis, self.records, self.messages = [], [], []

    @property
    def where(self):
        return f'{self.path}:{self.lines[min(self.at, len(self.lines) - 1)][0]}'

    @property
    def indent(self):
        """Of the line to be read next; -1 at the end."""
        return self.lines[self.at][1] if self.at < len(self.lines) else -1

    @property
    def text(self):
        return self.lines[self.at][2]

    def parse(self):
        family = api = record = None
        while self.indent >= 0:
            where = self.where
            if self.indent:
                fail(where, 'a declaration begins at the left margin')
            word, _, rest = self.text.partition(' ')
            rest = rest.strip()
            self.at += 1
            if word == 'family' and rest in FAMILIES:
                family = rest
            elif word == 'api':
                api = self.parse_api(rest, where)
            elif word == 'record' and family:
                record = self.parse_record(family, rest, where)
            elif word in ('request', 'response') and api:
                api[word] = self.parse_message(api['name'] + word.capitalize(), rest, where)
            elif word in ('key', 'value') and record:
                # The metadata log's records have no key and are named in full.
                suffix = '' if family == 'metadata' else word.capitalize()
                record[word] = self.parse_message(record['name'] + suffix, rest, where)
            elif word == 'data':
                name, _, header = rest.partition(' ')
                self.parse_message(name, header.strip(), where)
            else:
                fail(where, f'"{word} {rest}" is not a declaration, or is out of place')
        return self

    def parse_api(self, rest, where):
        match = re.fullmatch(r'(\d+)\s+(\w+)((?:\s+(?:broker|controller))+)', rest)
        if not match:
            fail(where, 'expected "api KEY NAME broker|controller..."')
        self.apis.append({'key': int(match[1]), 'name': match[2], 'listeners': match[3].split()})
        return self.apis[-1]

    def parse_record(self, family, rest, where):
        match = re.fullmatch(r'(\d+)\s+(\w+)', rest)
        if not match:
            fail(where, 'expected "record TYPE NAME"')
        self.records.append({'family': family, 'type': int(match[1]), 'name': match[2]})
        return self.records[-1]

    def parse_message(self, name, header, where):
        message = Message(name, header, where)
        while self.indent > 0 and self.text.startswith('struct '):
            indent = self.indent
            struct = self.add_struct(message, self.text.split()[1])
            self.at += 1
            self.parse_fields(message, struct, indent, (message.low, message.high))
        self.parse_fields(message, message.root, 0, (message.low, message.high))
        if message.root.depth() > DEPTH_MAX:
            fail(where, f'{name} is nested deeper than {DEPTH_MAX}')
        self.messages.append(message)
        return message

    def add_struct(self, message, name):
        if name in message.named:
            fail(self.where, f'struct {name} is declared twice in {message.name}')
        message.named[name] = Struct(name, f'{message.c_name}_{name}')
        return message.named[name]

    def parse_fields(self, message, struct, outer, versions):
        """The lines that are indented further than `outer`."""
        where, indent = self.where, self.indent
        while self.indent > outer:
            if self.indent != indent:
                fail(self.where, 'the fields of one struct begin in one column')
            struct.fields.append(self.parse_field(message, versions))
        names = [f.name for f in struct.fields]
        tags = [f.tag for f in struct.fields if f.tag >= 0]
        if len(set(names)) != len(names) or len(set(tags)) != len(tags):
            fail(where, f'{struct.c_name} has two fields of one name or tag')
        message.structs.append(struct)

    def parse_field(self, message, versions):
        where, indent, words = self.where, self.indent, self.text.split()
        match = re.fullmatch(r'(\[\])?([a-z][a-z0-9_]*)(?:(\?)(.*))?', (words + [''])[1])
        if not match:
            fail(where, 'expected "NAME TYPE [VERSIONS] [tag N [VERSIONS]] [= DEFAULT] '
                        '[ignorable]"')
        if words[0] in C_WORDS or not re.fullmatch(r'[a-z][a-z0-9_]*', words[0]):
            fail(where, f'"{words[0]}" cannot be a field name')
        rest = words[2:]
        if rest and re.match(r'-?\d', rest[0]):
            versions = parse_range(rest.pop(0), where, *versions)
        field = Field(words[0], versions)
        field.array = bool(match[1])
        if match[3]:
            field.nullable = parse_range(match[4], where, *versions) if match[4] else versions
        self.parse_attributes(field, rest, where)
        if field.tag >= 0 and field.tag_min < message.flexible:
            fail(where, 'a tagged field needs a flexible version')
        self.at += 1
        if match[2] in KINDS:
            field.type = match[2]
        elif self.indent > indent:
            field.type = self.add_struct(message, match[2])
            self.parse_fields(message, field.type, indent, versions)
        elif match[2] in message.named:
            field.type = message.named[match[2]]
        else:
            fail(where, f'there is no type "{match[2]}"')
        self.check(field, where)
        return field

    @staticmethod
    def parse_attributes(field, rest, where):
        while rest:
            word = rest.pop(0)
            if word == 'ignorable':
                field.ignorable = True
            elif word == 'tag' and rest and rest[0].isdigit():
                field.tag, field.tag_min = int(rest.pop(0)), field.versions[0]
                if rest and re.match(r'-?\d', rest[0]):
                    tagged = parse_range(rest.pop(0), where, *field.versions)
                    if tagged[1] != field.versions[1]:
                        fail(where, 'a field that was tagged once stays tagged')
                    field.tag_min = tagged[0]
            elif word == '=' and rest:
                text = rest.pop(0)
                if text == 'null':
                    field.null_default = True
                elif text == '{}':
                    field.struct_default = True
                elif text in ('true', 'false'):
                    field.default = int(text == 'true')
                elif re.fullmatch(r'-?\d+', text):
                    field.default = int(text)
                else:
                    fail(where, f'"{text}" cannot be a default')
            else:
                fail(where, f'"{word}" is out of place')

    @staticmethod
    def check(field, where):
        is_struct = isinstance(field.type, Struct)
        if field.nullable and not (field.array or is_struct or field.type in NULLABLE):
            fail(where, f'a field of type {field.type} cannot be null')
        if field.null_default and not field.nullable:
            fail(where, 'the default is null, but the field is not nullable')
        if field.default and (field.array or field.type not in NUMBERS | {'bool'}):
            fail(where, 'only numbers and bool have such a default')
        if field.struct_default and not field.pointer:
            fail(where, 'only a struct that may be null has the default {}')
        if field.pointer and not field.struct_default:
            field.null_default = True
        if field.struct_default and any(isinstance(f.type, Struct) and not f.array
                                        for f in field.type.fields):
            fail(where, 'a struct with the default {} cannot embed another')


def emit_struct(message, struct):
    lines = [f'struct {struct.c_name} {{']
    for field in struct.fields:
        is_struct = isinstance(field.type, Struct)
        c_type = f'struct {field.type.c_name}' if is_struct else KINDS[field.type][1]
        star = '*' if field.array or field.pointer else ''
        lines.append(f'    {c_type} {star}{field.name};')
        if field.array:
            lines.append(f'    int32_t {field.name}_len;')
    if message.flexible != OPEN:
        lines.append('    struct unknown_tags unknown_tags;')
    elif not struct.fields:
        lines.append('    char nothing; /* C has no empty structs */')
    return lines + ['};', f'extern const struct msg_struct {struct.c_name}_type;']


def c_int64(value):
    return 'INT64_MIN' if value == -2**63 else f'INT64_C({value})'


def emit_field(struct, field):
    is_struct = isinstance(field.type, Struct)
    null_low, null_high = field.nullable or (OPEN, -1)
    parts = [
        f'.name = "{camel(field.name)}"',
        f'.kind = {"MSG_STRUCT" if is_struct else KINDS[field.type][0]}',
        f'.offset = offsetof(struct {struct.c_name}, {field.name})',
        f'.version_min = {field.versions[0]}', f'.version_max = {field.versions[1]}',
        f'.nullable_min = {null_low}', f'.nullable_max = {null_high}',
        f'.tag_min = {field.tag_min}', f'.tag = {field.tag}',
    ]
    if is_struct:
        parts.append(f'.type = &{field.type.c_name}_type')
    if field.default:
        parts.append(f'.default_value = {c_int64(field.default)}')
    if field.struct_default:
        parts.append(f'.default_struct = &{field.type.c_name}_default')
    for flag in ('array', 'pointer', 'ignorable', 'null_default'):
        if getattr(field, flag):
            parts.append(f'.is_{flag} = true')
    return '    {' + ', '.join(parts) + '},'


def emit_default(struct):
    """The constant that stands for a struct at its defaults."""
    lines = [f'static const struct {struct.c_name} {struct.c_name}_default = {{']
    for field in struct.fields:
        if field.array:
            lines.append(f'    .{field.name}_len = {-1 if field.null_default else 0},')
        elif field.type in NULLABLE and not field.null_default:
            empty = '""' if field.type == 'string' else '(const uint8_t *)""'
            lines.append(f'    .{field.name} = {{{empty}, 0}},')
        elif field.default:
            lines.append(f'    .{field.name} = {c_int64(field.default)},')
    return lines + ['};']


def emit_type(message, struct):
    name, lines = struct.c_name, []
    lines += [line for field in struct.fields if field.struct_default
              for line in emit_default(field.type)]
    fields, tagged = 'no_fields', 'NULL'
    by_tag = sorted((f.tag, i) for i, f in enumerate(struct.fields) if f.tag >= 0)
    if struct.fields:
        fields = f'{name}_fields'
        lines.append(f'static const struct msg_field {fields}[] = {{')
        lines += [emit_field(struct, field) for field in struct.fields]
        lines.append('};')
    if by_tag:
        tagged = f'{name}_tagged'
        lines.append(f'static const uint16_t {tagged}[] = '
                     f'{{{", ".join(str(i) for _, i in by_tag)}}};')
    unknown = 'MSG_NO_TAGS'
    if message.flexible != OPEN:
        unknown = f'offsetof(struct {name}, unknown_tags)'
    return lines + [
        f'const struct msg_struct {name}_type = {{',
        f'    .name = "{struct.name}", .fields = {fields}, .tagged = {tagged},',
        f'    .fields_len = {len(struct.fields)}, .tagged_len = {len(by_tag)},',
        f'    .size = sizeof(struct {name}), .unknown_tags_offset = {unknown}}};']


def emit_header(messages):
    out = ['/* Generated by tools/msgc.py from wire/schema. */', '#ifndef WIRE_MESSAGES_H',
           '#define WIRE_MESSAGES_H', '', '#include "wire/codec.h"', '']
    for message in messages:
        for struct in message.structs:
            out += emit_struct(message, struct)
        out += [f'extern const struct msg_schema {message.c_name}_schema;', '']
    return out + ['/* All of them. */', 'extern const struct msg_schema *const msg_schemas[];',
                  'extern const int msg_schemas_len;', '', '#endif']


def emit_tables(messages, apis, records):
    out = ['/* Generated by tools/msgc.py from wire/schema. */', '#include "wire/messages.h"', '',
           '#include <stddef.h>', '', '#include "wire/api.h"', '#include "wire/records.h"', '',
           '/* Of messages that have none: whoever walks fields may add to the pointer. */',
           'static const struct msg_field no_fields[1];', '']
    for message in messages:
        for struct in message.structs:
            out += emit_type(message, struct)
        out += [f'const struct msg_schema {message.c_name}_schema = {{"{message.name}", '
                f'&{message.root.c_name}_type, {message.low}, {message.high}, '
                f'{message.flexible}}};', '']
    out += ['const struct msg_schema *const msg_schemas[] = {']
    out += [f'    &{message.c_name}_schema,' for message in messages]
    out += ['};', f'const int msg_schemas_len = {len(messages)};', '',
            'const struct api_info api_table[] = {']
    for api in apis:
        request, response = api['request'], api['response']
        flags = ', '.join('true' if name in api['listeners'] else 'false'
                          for name in ('broker', 'controller'))
        out.append(f'    {{{api["key"]}, "{api["name"]}", {request.low}, {request.high}, '
                   f'{request.flexible}, {flags}, &{request.c_name}_schema, '
                   f'&{response.c_name}_schema}},')
    out += ['};', f'const int api_table_len = {len(apis)};', '',
            'const struct record_info record_table[] = {']
    for record in records:
        key = f'&{record["key"].c_name}_schema' if 'key' in record else 'NULL'
        out.append(f'    {{{FAMILIES[record["family"]]}, {record["type"]}, "{record["name"]}", '
                   f'{key}, &{record["value"].c_name}_schema}},')
    return out + ['};', f'const int record_table_len = {len(records)};']


def check_all(messages, apis, records):
    seen = {}
    for message in messages:
        for struct in message.structs:
            if struct.c_name in seen:
                sys.exit(f'struct {struct.c_name} is in {seen[struct.c_name]} and {message.name}')
            seen[struct.c_name] = message.name
    for api in apis:
        if 'request' not in api or 'response' not in api:
            sys.exit(f'api {api["name"]} needs a request and a response')
        request, response = api['request'], api['response']
        if (request.low, request.high, request.flexible) != (
                response.low, response.high, response.flexible):
            sys.exit(f'api {api["name"]}: request and response differ in their versions')
    for record in records:
        if 'value' not in record or ('key' in record) == (record['family'] == 'metadata'):
            sys.exit(f'record {record["name"]} needs a value, and a key outside of the metadata')


def main():
    out_h, out_c, *paths = sys.argv[1:]
    parsers = [Parser(path).parse() for path in sorted(paths)]
    messages = [message for parser in parsers for message in parser.messages]
    apis = sorted((api for parser in parsers for api in parser.apis), key=lambda a: a['key'])
    records = [record for parser in parsers for record in parser.records]
    check_all(messages, apis, records)
    for path, lines in ((out_h, emit_header(messages)),
                        (out_c, emit_tables(messages, apis, records))):
        with open(path, 'w', encoding='utf-8') as file:
            file.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
