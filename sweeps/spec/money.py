"""Readers of what compute costs and what a sweep may use, and what contradicts other sections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cluster.common.wording import count_of
from spurious.config.fields import Pattern
from spurious.scoring.cost import PARTS
from sweeps.spec.fields import Field, Refused, hint_parts, nearest, options_of
from sweeps.spec.values import (
    AXIS,
    NODE_TYPE,
    ComputePrices,
    CostOptions,
    Limits,
    NodeType,
    Resources,
)
from sweeps.spec.yaml import MappingNode, ScalarNode

EARLIER_AXIS = "include_validation"
"""What earlier versions had in the place of `axis`; stored specifications may have it."""
_SECTIONS = ("resources", "cost", "limits")
_EXAMPLE = "as {g5.xlarge: {dollars_per_hour: 1.006, cpus: 4, gpus: 1}}"


def axis(children: Mapping[str, Field], default: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the frontier's axis counts.

    Args:
        children: The section's keys.
        default: Where nothing is said.
    """
    earlier, field = children.get(EARLIER_AXIS), children.get("axis")
    if earlier is not None:
        if field is not None:
            raise earlier.note("axis says what is counted; remove this key of earlier versions")
        with_validation = earlier.value(bool)
        return PARTS if with_validation else tuple(p for p in PARTS if p != "validation")
    if field is None:
        return default
    named = [part for _, part in field.each("part of the price", _part)]
    if "compute" in named and "compute" not in children:
        raise field.note("compute has no price; give it one in cost.compute, or remove it here")
    return tuple(part for part in AXIS if part in named)


def _part(field: Field) -> str:
    name = field.node.value if isinstance(field.node, ScalarNode) else None
    if not isinstance(name, str) or name not in AXIS:
        hint = nearest(name, AXIS) if isinstance(name, str) else ""
        raise field.refuse(f"a part of the price, one of {', '.join(AXIS)}", hint)
    return name


def compute(field: Field) -> ComputePrices | None:
    """Return what nodes cost; `node` may be left out where there is one type alone."""
    if isinstance(field.node, ScalarNode) and field.node.value is None:
        return None
    count, node_types = ComputePrices.count, dict[str, NodeType]()
    with field.complete():
        children = field.mapping(options_of(ComputePrices), ("node_types",))
        with suppress(Refused):
            if "count" in children:
                count = children["count"].value(*options_of(ComputePrices)["count"])
        with suppress(Refused):
            if "node_types" in children:
                node_types = _node_types(children["node_types"])
    return ComputePrices(
        node=_chosen(field, children.get("node"), node_types),
        count=count,
        node_types=tuple(sorted(node_types.items())),
    )


def _node_types(field: Field) -> dict[str, NodeType]:
    """Return the types of nodes by name, at least one."""
    if not isinstance(field.node, MappingNode) or not field.node.items:
        raise field.refuse(f"a mapping of names of node types to what they have, {_EXAMPLE}")
    _, (pattern,), _ = hint_parts(NODE_TYPE)
    assert isinstance(pattern, Pattern)
    node_types = {}
    with field.complete():
        for name, child in field.mapping(list(field.node.items)).items():
            if not re.fullmatch(pattern.regex, name):
                child.note(f"'{name}' is not a name of a node type; expected {pattern.meaning}")
                continue
            with suppress(Refused):
                node_types[name] = _node_type(child)
    return node_types


def _node_type(field: Field) -> NodeType:
    with field.complete():
        children = field.mapping(options_of(NodeType), ("dollars_per_hour", "cpus"))
        values = field.values(NodeType, children)
    return NodeType(**values)


def _chosen(field: Field, named: Field | None, node_types: Mapping[str, NodeType]) -> str:
    known = ", ".join(node_types)
    if named is None:
        if len(node_types) == 1:
            return next(iter(node_types))
        raise field.refuse(f"a key node that names one of several node types ({known})")
    name: str = named.value(str)
    if name not in node_types:
        raise named.refuse(f"one of cost.compute.node_types ({known})", nearest(name, node_types))
    return name


def limits(field: Field) -> Limits:
    """Return what a sweep may use."""
    chosen: Limits = field.options(Limits)
    return chosen


def check_money(root: Field, values: Mapping[str, Any]) -> None:
    """Note limits that would bind nothing, and nodes that no trial fits on."""
    if any(root.at(name) is not None and name not in values for name in _SECTIONS):
        return  # what is wrong there is noted
    resources: Resources = values.get("resources", Resources())
    of_compute = values.get("cost", CostOptions()).compute
    bounds: Limits = values.get("limits", Limits())
    if bounds.gpu_hours is not None and not resources.gpus:
        (root.at("limits", "gpu_hours") or root).note(
            "trials use no GPU (resources.gpus is 0), so that this limits nothing; expected "
            "cpu_hours, or resources.gpus above 0"
        )
    if bounds.dollars is not None and of_compute is None:
        (root.at("limits", "dollars") or root).note(
            "no price of compute is known; expected cost.compute with node_types, "
            f"{_EXAMPLE}, or no limit in dollars"
        )
    if of_compute is None:
        return
    node = of_compute.chosen
    if bounds.dollars is not None and not node.dollars_per_hour:
        (root.at("limits", "dollars") or root).note(
            f"'{of_compute.node}' costs 0 dollars an hour, so that this limits nothing; expected "
            "its price as dollars_per_hour, or gpu_hours or cpu_hours"
        )
    if resources.cpus > node.cpus or resources.gpus > node.gpus:
        (root.at("cost", "compute", "node") or root.at("cost", "compute") or root).note(
            f"a trial asks for {count_of(resources.cpus, 'CPU')} and "
            f"{count_of(resources.gpus, 'GPU')}, and '{of_compute.node}' has {node.cpus} and "
            f"{node.gpus}; expected a larger node type, or lower resources"
        )
