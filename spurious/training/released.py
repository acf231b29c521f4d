"""Released state dicts: which of their tensors are a model's, and what a file lacks.

Files are stored as they are, so that a file's SHA-256 names what a trial begins from. Names are
mapped whenever a file is loaded, by these rules:

1. What stands before every name of the model (`module.`, `model.encoder.`, `module.backbone.`) is
   left out. Tensors that do not begin with it are another part's, such as a decoder's or a
   projection head's, and are left out, too. Two parts that both fit are refused.
2. Names of efficientnet_pytorch (`_blocks.1._expand_conv.weight`) become timm's
   (`blocks.1.0.conv_pw.weight`) where the model has those: see `rename_efficientnet`.
3. The release's classifier is left out, and so is what an encoder does not use.

All other tensors must be there, each in its shape; `num_batches_tracked`, which files from before
torch 0.4.1 lack, may be missing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

State = Mapping[str, torch.Tensor]

HEADS = ("fc.", "_fc.", "last_linear.", "classifier.", "head.", "linear.")
"""What names of released classifiers begin with."""
SKETCH = 6
"""Hashes that a sketch keeps: enough to find the nearest of 1,400 architectures."""
_UNCOUNTED = "num_batches_tracked"
_PREFIXES = 3
"""Prefixes that are compared in full, those of most names of the model."""
_DEPTH, _PARTS = 5, 5
"""A part that may be a model lies less than so deep, and is at least one in so many tensors."""


@dataclass(frozen=True)
class Target:
    """The tensors of a module under the names that releases give them.

    Attributes:
        keys: Released name to the module's name.
        shapes: Released name to shape.
        is_left_out: Takes another name; returns whether a release may have it.
    """

    keys: Mapping[str, str]
    shapes: Mapping[str, torch.Size]
    is_left_out: Callable[[str], bool] = lambda name: name.startswith(HEADS)


def target_of(module: torch.nn.Module, heads: tuple[str, ...] = HEADS) -> Target:
    """Return the target of a module whose releases have its names and those of a classifier.

    Args:
        module: On any device, without a classifier.
        heads: What the classifier's names begin with.
    """
    state = module.state_dict()
    return Target(
        {key: key for key in state},
        {key: value.shape for key, value in state.items()},
        lambda name: name.startswith(heads),
    )


@dataclass(frozen=True)
class Match:
    """A state dict compared with a target.

    Attributes:
        state: The module's names to tensors, for those that are there in the right shape.
        prefix: What was left out before every name.
        missing, unknown, misshapen: Released names that are not there, that the model does not
            have, that have another shape.
        rival: Another prefix that fits as well, or None.
    """

    state: State
    prefix: str
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]
    rival: str | None = None

    @property
    def fits(self) -> bool:
        """Return whether a model can begin from it."""
        return not (self.missing or self.unknown or self.misshapen or self.rival)

    def describe_misfit(self) -> str:
        """Return what is wrong, in a clause; the state must not fit."""
        if self.rival:
            return f"two parts fit, those under '{self.prefix}' and '{self.rival}': save one alone"
        odd = sorted((*self.missing, *self.unknown, *self.misshapen))
        before = f", after the prefix '{self.prefix}'" if self.prefix else ""
        return (
            f"{len(self.missing)} tensors missing, {len(self.unknown)} unknown, "
            f"{len(self.misshapen)} of another shape, e.g. {', '.join(odd[:3])}{before}"
        )


def match(state: State, target: Target) -> Match:
    """Compare a state dict with a target, by the rules above.

    Returns:
        The best match, which may not fit.
    """
    matches: list[Match] = []
    for names in _namings(state):
        for prefix in _prefixes(names, target.keys):
            matches.append(_match_under(names, prefix, target))
    best = max(matches, key=lambda each: (each.fits, len(each.state), -len(each.unknown)))
    rivals = [m.prefix for m in matches if m is not best and m.fits and m.prefix != best.prefix]
    if not best.fits or not rivals:
        return best
    return Match(best.state, best.prefix, (), (), (), rivals[0])


def _namings(state: State) -> Iterator[State]:
    yield state
    if renamed := rename_efficientnet(state):
        yield renamed


def _prefixes(state: State, names: Mapping[str, str]) -> list[str]:
    """Return what stands before the most names of a model, most frequent first."""
    counts = Counter(key[:start] for key in state for start in _starts(key) if key[start:] in names)
    return [prefix for prefix, _ in counts.most_common(_PREFIXES)] or [""]


def _starts(key: str) -> list[int]:
    """Return where the parts of a dotted name begin."""
    return [0, *(dot.end() for dot in re.finditer(r"\.", key))]


def _match_under(state: State, prefix: str, target: Target) -> Match:
    inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    known = {name: value for name, value in inside.items() if name in target.keys}
    right = {n: v for n, v in known.items() if v.shape == target.shapes[n]}
    return Match(
        {target.keys[name]: value for name, value in right.items()},
        prefix,
        tuple(n for n in target.keys if n not in known and not n.endswith(_UNCOUNTED)),
        tuple(n for n in inside if n not in known and not target.is_left_out(n)),
        tuple(n for n in known if n not in right),
    )


_EFFICIENTNET_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EFFICIENTNET_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_EFFICIENTNET_SEPARABLE = {
    **_EFFICIENTNET_EXPANDED,
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def rename_efficientnet(state: State) -> State | None:
    """Return a state dict of efficientnet_pytorch, EfficientNet-Lite's too, under timm's names.

    `_blocks.N` becomes `blocks.STAGE.BLOCK`; a stage begins where the number of channels that a
    block puts out changes. A block without an expansion is timm's depthwise separable one.

    Returns:
        None where the names are others.
    """
    stems = [key for key in state if key.endswith("_conv_stem.weight")]
    if len(stems) != 1:
        return None
    prefix = stems[0].removesuffix("_conv_stem.weight")
    places = _efficientnet_places(state, prefix)
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        first, _, rest = key.removeprefix(prefix).partition(".")
        if not key.startswith(prefix):
            renamed[key] = value
        elif first != "_blocks":
            renamed[f"{prefix}{_EFFICIENTNET_TOP.get(first, first)}.{rest}"] = value
        else:
            block, _, rest = rest.partition(".")
            layer, _, rest = rest.partition(".")
            is_expanded = f"{prefix}_blocks.{block}._expand_conv.weight" in state
            layers = _EFFICIENTNET_EXPANDED if is_expanded else _EFFICIENTNET_SEPARABLE
            renamed[f"{prefix}blocks.{places[block]}.{layers.get(layer, layer)}.{rest}"] = value
    return renamed


def _efficientnet_places(state: State, prefix: str) -> Mapping[str, str]:
    """Return the number of each block to timm's `STAGE.BLOCK`."""
    pattern = re.compile(re.escape(prefix) + r"_blocks\.([0-9]+)\.")
    numbers = {int(match[1]) for key in state if (match := pattern.match(key))}
    places: dict[str, str] = {}
    stage, block, width = -1, 0, -1
    for number in sorted(numbers):
        last = state.get(f"{prefix}_blocks.{number}._project_conv.weight")
        if last is None or len(last) == width:  # a file without it is refused for that
            block += 1
        else:
            stage, block, width = stage + 1, 0, len(last)
        places[str(number)] = f"{stage}.{block}"
    return places


def sketch(state: State) -> tuple[str, ...]:
    """Return the smallest hashes of names and shapes: alike state dicts share most of them."""
    return tuple(sorted(_hashes(state))[:SKETCH])


def part_hashes(state: State) -> set[str]:
    """Return hashes of the names and shapes of each part that may be a model, in each naming."""
    hashes: set[str] = set()
    for names in _namings(state):
        counts = Counter(key[:start] for key in names for start in _starts(key)[:_DEPTH])
        for prefix in (p for p, n in counts.items() if n >= len(names) / _PARTS):
            inside = {k.removeprefix(prefix): v for k, v in names.items() if k.startswith(prefix)}
            hashes |= _hashes(inside)
    return hashes


def _hashes(state: State) -> set[str]:
    return {
        hashlib.sha256(f"{name}:{tuple(value.shape)}".encode()).hexdigest()[:8]
        for name, value in state.items()
        if not name.endswith(_UNCOUNTED)
    }
