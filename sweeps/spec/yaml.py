"""YAML text to a tree that remembers its lines, with the scalars of YAML 1.2's core schema.

Only what a specification needs is taken: one document, text keys, decimal numbers. Anchors,
aliases, merge keys and tags are refused on the stream of parser events, so that nothing is ever
expanded or constructed. Values that YAML 1.1 reads in surprising ways (`yes`, `0600`, `1:30`,
`1_000`) stay text; `1e-5` is a number, as in YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
_LONGEST_NUMBER = 40
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    text: text.lower() == "true"
    for word in ("true", "false")
    for text in (word, word.title(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_REMEDIES = {
    "\\t": "indent with spaces, not tabs",
    "<block end>": "indent the keys of one mapping, or the items of one list, alike",
    "mapping values": "indent keys of one mapping alike, and put text that holds ': ' in quotes",
}

Where = int | str
"""A line of the text, from 1, or the dotted key of an override."""


@dataclass(frozen=True, eq=False)
class ScalarNode:
    """A value without parts; `text` is how it was written, without quotes."""

    where: Where
    value: bool | int | float | str | None
    text: str
    quoted: bool = False


@dataclass(frozen=True, eq=False)
class SequenceNode:
    """A list."""

    where: Where
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class MappingNode:
    """A mapping from text keys, each with the place where it stands, to nodes."""

    where: Where
    items: dict[str, tuple[Where, Node]] = field(default_factory=dict)


Node = ScalarNode | SequenceNode | MappingNode


@dataclass(frozen=True)
class SpecIssue:
    """One thing that is wrong: where, the dotted key ('' for the whole text), and the message."""

    where: Where
    key: str
    message: str


class _Stop(Exception):
    """Reading on makes no sense; the problem is already noted."""


def shorten(text: str) -> str:
    """Text of a file as a message may print it: one line, bounded, without control characters."""
    printable = text if text and text.isprintable() else repr(text)
    return printable if len(printable) <= 60 else printable[:57] + "..."


def join(parent: str, key: str) -> str:
    """Return the dotted key of a mapping's entry."""
    return f"{parent}.{shorten(key)}" if parent else shorten(key)


def read(text: str | bytes) -> tuple[Node | None, list[SpecIssue]]:
    """Read one YAML document.

    Args:
        text: At most `MAX_BYTES` of UTF-8; a byte order mark does not matter.

    Returns:
        The tree and what is wrong with the text. The tree is None where it cannot be trusted
        (not YAML, aliases, tags); a duplicate or non-text key leaves it usable, without that entry.
    """
    problems: list[SpecIssue] = []
    try:
        builder = _Builder(_decode(text, problems), problems)
        tree = builder.document()
    except _Stop:
        return None, problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        problems.append(SpecIssue(line, "", f"not YAML: {_explain(error)}"))
        return None, problems
    return (tree if builder.sound else None), problems


def override(tree: Node, key: str, value: Any) -> SpecIssue | None:
    """Replace or add the value at a dotted key, in place; mappings on the way are made.

    Args:
        tree: The document.
        key: Keys of nested mappings, joined by dots.
        value: None, bool, int, float, str, and lists and mappings of them.

    Returns:
        What is wrong with the override, or None.
    """
    *path, last = key.split(".")
    if not all((*path, last)):
        return SpecIssue(key, "", "not a dotted key; expected one like train.epochs")
    try:
        node = _to_node(value, key)
    except TypeError as error:
        return SpecIssue(key, "", f"{error} given; expected a plain YAML value")
    for name in path:
        if not isinstance(tree, MappingNode):
            break
        below = tree.items.get(name)
        if below is None or (isinstance(below[1], ScalarNode) and below[1].value is None):
            tree.items[name] = (key, MappingNode(key))
        tree = tree.items[name][1]
    if not isinstance(tree, MappingNode):
        return SpecIssue(
            key, "", f"'{'.'.join(path)}' is not a mapping here; override it as a whole"
        )
    tree.items[last] = (key, node)
    return None


def _to_node(value: Any, where: Where) -> Node:
    # exact built-in types only, so that no subclass (numpy.float64) reaches a trial's identity
    if value is None or type(value) in (bool, int, float, str):
        return ScalarNode(where, value, "null" if value is None else str(value), quoted=True)
    if isinstance(value, list | tuple):
        return SequenceNode(where, [_to_node(item, where) for item in value])
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return MappingNode(where, {k: (where, _to_node(v, where)) for k, v in value.items()})
    raise TypeError(f"a value of type {type(value).__name__}")


def to_python(node: Node) -> Any:
    """Return the plain Python value of a node."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return [to_python(item) for item in node.items]
    return {key: to_python(item) for key, (_, item) in node.items.items()}


def _decode(text: str | bytes, problems: list[SpecIssue]) -> str:
    size = len(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    if size > MAX_BYTES:
        message = f"more than {MAX_BYTES // 1024} KiB; a specification is a short text"
        problems.append(SpecIssue(1, "", message))
        raise _Stop
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        start, raw = error.start, error.object
        message = f"byte {start} (0x{raw[start]:02x}) is not UTF-8; save the file as UTF-8"
        problems.append(SpecIssue(raw.count(b"\n", 0, start) + 1, "", message))
        raise _Stop from error
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        message = f"the character U+{ord(odd[0]):04X} is not allowed in YAML; remove it"
        problems.append(SpecIssue(line, "", message))
        raise _Stop
    return text


def _explain(error: yaml.MarkedYAMLError) -> str:
    message = ", ".join(part for part in (error.context, error.problem) if part)
    remedies = (remedy for sign, remedy in _REMEDIES.items() if sign in message)
    return "; ".join([message, *remedies])


def _resolve(event: yaml.ScalarEvent) -> bool | int | float | str | None:
    text: str = event.value
    if event.style is not None:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _NOT_FINITE.fullmatch(text):
            return float(text.replace(".", "", 1))
    return text


class _Builder:
    """Builds the tree from parser events; recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, text: str, problems: list[SpecIssue]) -> None:
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self.problems = problems
        self.sound = True

    def document(self) -> Node:
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            self.stop(1, "empty; expected a mapping with the keys name, dataset and axes")
        root = self.node(next(self.events), "", 0)
        next(self.events)
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            self.stop(_line(event), "a second document starts here; expected one per file")
        return root

    def stop(self, line: int, message: str, key: str = "") -> None:
        self.problems.append(SpecIssue(line, key, message))
        raise _Stop

    def refuse(self, event: Any, key: str, what: str, remedy: str) -> None:
        self.sound = False
        self.problems.append(SpecIssue(_line(event), key, f"{what} is refused; {remedy}"))

    def node(self, event: Any, key: str, depth: int, where: int | None = None) -> Node:
        """Return the node that starts with an event; a collection stands where its key does."""
        line = _line(event)
        if depth > MAX_DEPTH:
            self.stop(line, f"nested more than {MAX_DEPTH} levels deep", key)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(
                event, key, f"the alias *{shorten(str(event.anchor))}", "write the value out"
            )
            return ScalarNode(line, None, "")
        if event.anchor is not None:
            self.refuse(
                event, key, f"the anchor &{shorten(event.anchor)}", "write values out where used"
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.refuse(
                event, key, f"the tag {shorten(tag)}", "remove it; types follow from the values"
            )
        if isinstance(event, yaml.ScalarEvent):
            return ScalarNode(line, _resolve(event), event.value, event.style is not None)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(line if where is None else where, key, depth)
        return self.mapping(line if where is None else where, key, depth)

    def sequence(self, where: int, key: str, depth: int) -> SequenceNode:
        sequence = SequenceNode(where)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            item = self.node(event, f"{key}[{len(sequence.items)}]", depth + 1)
            sequence.items.append(item)
        return sequence

    def mapping(self, where: int, key: str, depth: int) -> MappingNode:
        mapping = MappingNode(where)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = _line(event)
            name = self.node(event, key, depth + 1)
            text = name.value if isinstance(name, ScalarNode) else None
            if text == "<<":
                self.refuse(event, key, "the merge key <<", "write the values out")
            child = join(key, text) if isinstance(text, str) else key
            value = self.node(next(self.events), child, depth + 1, line)
            if not isinstance(text, str):
                shown_key = (
                    name.text or "nothing" if isinstance(name, ScalarNode) else "a collection"
                )
                message = f"the key {shown_key} is not text; expected a name, in quotes if need be"
                self.problems.append(SpecIssue(line, key, message))
            elif text in mapping.items:
                first = mapping.items[text][0]
                message = f"given twice, first on line {first}; remove one of them"
                self.problems.append(SpecIssue(line, child, message))
            else:
                mapping.items[text] = (line, value)
        return mapping


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
