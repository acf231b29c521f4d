"""Reads YAML nodes into typed, bounded values; every problem is noted with its line, none is lost.

The type hints of a dataclass are the grammar: `int`, `float`, `bool`, `str`, a `Literal`, any of
them or None, with the range and pattern marks of `spurious.config`. Types are strict (`"3"`,
`true` and `1.0` are not integers), except that an integer is a number.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import operator
import re
import types
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt

from cluster.common.wording import count_of
from spurious.config import fields as config
from sweeps.errors import SpecError
from sweeps.spec.yaml import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    SpecIssue,
    Where,
    join,
    shorten,
)

SHOWN = 100
"""Problems printed in full; the others are counted."""
MOST_NAMED = 12
"""Names that a message lists; of more it has the number and the nearest ones."""
_NEAREST = 5

T = TypeVar("T", bound=Hashable)
_INVALID = object()
_BOUNDS: Mapping[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least"),
    Gt: ("gt", operator.gt, "above"),
    Le: ("le", operator.le, "at most"),
    Lt: ("lt", operator.lt, "below"),
}
_REMEDIES_FOR_NUMBERS = (
    (r"[-+]?0[0-9]+", "write it without the leading 0, which YAML 1.1 reads as octal"),
    (r"[-+]?0[xob].*", "write it in decimal"),
    (r"[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?", "write it in decimal, not in base 60"),
    (r"[-+]?[0-9][0-9_.]*", "write it without underscores, in decimal"),
)


class Refused(Exception):
    """A value that cannot be taken; the problem is already noted."""


class SpecIssues:
    """Everything that is wrong with one text; raised as one error, in the order of its lines."""

    def __init__(self, source: str, issues: Iterable[SpecIssue] = ()) -> None:
        self.source = source
        self.issues = list(issues)

    def add(self, where: Where, key: str, message: str) -> None:
        """Note one problem."""
        self.issues.append(SpecIssue(where, key, message))

    def raise_if_any(self) -> None:
        """Raise one SpecError that lists every problem, one a line, overrides last."""
        if not self.issues:
            return
        ordered = sorted(
            self.issues, key=lambda p: p.where if isinstance(p.where, int) else math.inf
        )
        lines = [self._line(problem) for problem in ordered[:SHOWN]]
        if len(ordered) > SHOWN:
            lines.append(f"{self.source}: and {count_of(len(ordered) - SHOWN, 'more problem')}")
        raise SpecError("\n".join(lines))

    def _line(self, problem: SpecIssue) -> str:
        if isinstance(problem.where, str):
            same = problem.key in ("", problem.where)
            place = f"override {shorten(problem.where)}" + ("" if same else f": {problem.key}")
        else:
            place = f"{self.source}:{problem.where}" + (problem.key and f": {problem.key}")
        return f"{place}: {problem.message}"


@dataclass(frozen=True, eq=False)
class Field:
    """A node with its dotted key and the list that its problems go to."""

    node: Node
    key: str
    problems: SpecIssues

    def refuse(self, expected: str, remedy: str = "") -> Refused:
        """Note that another value was expected; the caller raises what comes back."""
        parts = [f"{describe_node(self.node)}; expected {expected}", remedy]
        self.problems.add(self.node.where, self.key, "; ".join(filter(None, parts)))
        return Refused()

    def note(self, message: str) -> Refused:
        """Note any other problem; the caller may raise what comes back."""
        self.problems.add(self.node.where, self.key, message)
        return Refused()

    @contextmanager
    def complete(self) -> Iterator[None]:
        """Raise Refused at the end where anything was noted inside."""
        noted = len(self.problems.issues)
        yield
        if len(self.problems.issues) > noted:
            raise Refused

    def at(self, *names: str) -> Field | None:
        """Return the field below, or None where the text has none."""
        node, key = self.node, self.key
        for name in names:
            if not isinstance(node, MappingNode) or name not in node.items:
                return None
            node, key = node.items[name][1], join(key, name)
        return Field(node, key, self.problems)

    def mapping(
        self,
        known: Collection[str],
        required: Collection[str] = (),
        later: Collection[str] = (),
        unlisted: Collection[str] = (),
    ) -> dict[str, Field]:
        """Return the fields of a mapping; unknown, missing and not yet available keys are noted.

        Those of earlier versions, `unlisted`, are taken and not named.

        Raises:
            Refused: not a mapping.
        """
        if not isinstance(self.node, MappingNode):
            is_short = len(known) <= MOST_NAMED
            keys = f"the keys {', '.join(known)}" if is_short else _some(known, "keys")
            raise self.refuse(f"a mapping with some of {keys}")
        for name, (where, _) in self.node.items.items():
            if name in later:
                self.problems.add(where, join(self.key, name), "not available yet; remove this key")
            elif name not in known and name not in unlisted:
                message = f"unknown key; expected {one_of(known, name)}"
                message = "; ".join(filter(None, [message, nearest(name, known)]))
                self.problems.add(where, join(self.key, name), message)
        for name in required:
            if name not in self.node.items:
                message = f"missing; this key is required in {self.key or 'every specification'}"
                self.problems.add(self.node.where, join(self.key, name), message)
        children = {name: self.at(name) for name in self.node.items if name in (*known, *unlisted)}
        return {name: child for name, child in children.items() if child is not None}

    def each(self, what: str, read: Callable[[Field], T]) -> list[tuple[Field, T]]:
        """Read every item of a list that may hold none twice; bad items are noted and left out.

        Raises:
            Refused: not a list, or an empty one.
        """
        if not isinstance(self.node, SequenceNode) or not self.node.items:
            remedy = ""
            if isinstance(self.node, ScalarNode) and self.node.value is not None:
                remedy = f"did you mean '[{shorten(self.node.text)}]'?"
            raise self.refuse(f"a list of at least one {what}", remedy)
        seen: dict[T, Field] = {}
        for index, node in enumerate(self.node.items):
            child = Field(node, f"{self.key}[{index}]", self.problems)
            with suppress(Refused):
                value = read(child)
                if value in seen:
                    first = seen[value]
                    raise child.note(
                        f"{describe_node(node)}, which equals {first.key} "
                        f"(line {first.node.where}); expected no value twice; remove one of them"
                    )
                seen[value] = child
        return [(child, value) for value, child in seen.items()]

    def value(self, hint: Any, default: Any = dataclasses.MISSING, also: str = "") -> Any:
        """Return the value that a type hint allows; `also` names what the caller allows besides.

        Raises:
            Refused: anything else.
        """
        value = _INVALID
        if isinstance(self.node, ScalarNode):
            value = _convert(self.node.value, hint)
        if value is _INVALID:
            note = "" if default is dataclasses.MISSING else f" (default {_text(default)})"
            raise self.refuse(describe(hint) + also + note, _remedy(self.node, hint))
        return value

    def values(self, cls: Any, children: Mapping[str, Field]) -> dict[str, Any]:
        """Return the values of some of a dataclass's fields; bad ones are noted.

        Raises:
            Refused: at least one was bad.
        """
        values = {}
        for name, child in children.items():
            with suppress(Refused):
                values[name] = child.value(*options_of(cls)[name])
        if len(values) < len(children):
            raise Refused
        return values

    def options(self, cls: Any, also_allowed: Collection[str] = ()) -> Any:
        """Read a dataclass of options; `also_allowed` names keys that are not fields of it.

        Raises:
            Refused: bad values or keys, or values that do not go together.
        """
        with self.complete():
            children = self.mapping([*also_allowed, *options_of(cls)])
            values = self.values(cls, {k: v for k, v in children.items() if k not in also_allowed})
            built = cls(**values)
            for message in config.problems(built):
                children.get(message.partition(" ")[0], self).note(message)
        return built

    def choice(self, what: str, registry: Mapping[str, type[Any]]) -> tuple[str, Any]:
        """Return a registered name, or a mapping of `name` and its options, as (name, options).

        Raises:
            Refused: neither, or bad options.
        """
        field = self
        if isinstance(self.node, MappingNode):
            if "name" not in self.node.items:
                self.problems.add(
                    self.node.where,
                    join(self.key, "name"),
                    f"missing; expected {what}, {one_of(registry, what='names')}",
                )
                raise Refused
            field = self.at("name") or self
        name = field.node.value if isinstance(field.node, ScalarNode) else None
        if not isinstance(name, str) or name not in registry:
            text = name if isinstance(name, str) else ""
            expected = f"{what}, {one_of(registry, text, 'names')}"
            raise field.refuse(expected, nearest(text, registry))
        if field is self:
            return name, registry[name]()
        return name, self.options(registry[name], also_allowed=("name",))


def describe_node(node: Node) -> str:
    """Return what stands there, in a few words."""
    if isinstance(node, MappingNode):
        return "an empty mapping given" if not node.items else "a mapping given"
    if isinstance(node, SequenceNode):
        return "an empty list given" if not node.items else "a list given"
    if node.value is None:
        return "nothing given"
    text = shorten(node.text)
    plain = isinstance(node.value, str) and node.text and node.text.isprintable()
    return f"'{text}' given" if plain else f"{text} given"


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'X'?`, or nothing where no known name is near."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= 64 else []
    return f"did you mean '{close[0]}'?" if close else ""


def one_of(known: Collection[str], name: str = "", what: str = "keys") -> str:
    """Return `one of a, b, c`; of many names their number, and those nearest to a given one.

    Args:
        known: The names.
        name: What was given; empty where it is nothing like a name, and the first ones follow.
        what: What they are, in the plural.
    """
    if len(known) <= MOST_NAMED:
        return f"one of {', '.join(known)}"
    if not name:
        return f"one of {_some(known, what)}"
    near = difflib.get_close_matches(name[:64], known, n=_NEAREST, cutoff=0.0)
    return f"one of {len(known)} {what}, of which {', '.join(near)} are the nearest"


def _some(known: Collection[str], what: str) -> str:
    """Return the number of many names, the first few, and where the others are."""
    first = itertools.islice(known, _NEAREST)
    return f"{len(known)} {what} such as {', '.join(first)} (`sweeps schema` has all)"


@cache
def options_of(cls: Any) -> Mapping[str, tuple[Any, Any]]:
    """Return a dataclass's fields as name to (type hint, default)."""
    hints = get_type_hints(cls, include_extras=True)
    return {item.name: (hints[item.name], item.default) for item in dataclasses.fields(cls)}


def hint_parts(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """Return a hint's base type, its marks, and whether None is allowed."""
    optional = get_origin(hint) in (Union, types.UnionType)
    if optional:
        (hint,) = [arm for arm in get_args(hint) if arm is not types.NoneType]
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__, optional
    return hint, (), optional


def _convert(value: Any, hint: Any) -> Any:
    base, marks, optional = hint_parts(hint)
    if value is None:
        return None if optional else _INVALID
    if get_origin(base) is Literal:
        return value if isinstance(value, str) and value in get_args(base) else _INVALID
    if base is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if type(value) is not base or (base is float and not math.isfinite(value)):
        return _INVALID
    for mark in marks:
        if isinstance(mark, config.Pattern):
            if not re.fullmatch(mark.regex, value):
                return _INVALID
            continue
        attribute, holds, _ = _BOUNDS[type(mark)]
        if not holds(value, getattr(mark, attribute)):
            return _INVALID
    # -0.0 equals 0.0 but would be written, and hashed, in another way
    return value + 0.0 if base is float else value


def describe(hint: Any) -> str:
    """Return what a type hint allows, in words."""
    base, marks, optional = hint_parts(hint)
    if get_origin(base) is Literal:
        words = f"one of {', '.join(get_args(base))}"
    else:
        words = {bool: "true or false", str: "text", int: "an integer", float: "a number"}[base]
    bounds = {type(mark): mark for mark in marks if type(mark) in _BOUNDS}
    if Ge in bounds and Le in bounds:
        words += f" from {_text(bounds[Ge].ge)} to {_text(bounds[Le].le)}"
    else:
        texts = []
        for kind, mark in bounds.items():
            attribute, _, phrase = _BOUNDS[kind]
            texts.append(f"{phrase} {_text(getattr(mark, attribute))}")
        words = " ".join([words, " and ".join(texts)]).rstrip()
        if base is float and not texts:
            words = "a finite number"
    for mark in marks:
        words = mark.meaning if isinstance(mark, config.Pattern) else words
    return words + (", or null" if optional else "")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _remedy(node: Node, hint: Any) -> str:
    """Return how to write what was probably meant, or nothing."""
    if not isinstance(node, ScalarNode) or node.value is None:
        return ""
    base, _, _ = hint_parts(hint)
    value, text = node.value, node.text
    if get_origin(base) is Literal:
        return nearest(text, get_args(base))
    if base is str and not isinstance(value, str):
        return "put it in quotes to make it text"
    if base is bool and text.lower() in ("yes", "no", "on", "off", "y", "n"):
        return f"did you mean '{_text(text.lower() in ('yes', 'on', 'y'))}'?"
    if base is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return f"did you mean '{int(value)}'?"
    if base in (int, float) and isinstance(value, str):
        if node.quoted:
            return "remove the quotes" if re.fullmatch(r"[-+.0-9eE]+", text) else ""
        return next((r for pattern, r in _REMEDIES_FOR_NUMBERS if re.fullmatch(pattern, text)), "")
    return ""
