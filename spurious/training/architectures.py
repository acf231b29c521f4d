"""Architectures of other libraries: their modules, and the tensors that releases of them hold.

An architecture is named as a spec's `encoder`, or as `timm:NAME` for a classifier of timm's. The
libraries are imported where they are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from spurious.config.architectures import encoder_sketches, timm_architectures
from spurious.config.encoders import ENCODERS, TIMM_PREFIX
from spurious.config.models import TIMM_CLASSIFIER
from spurious.errors import ConfigError
from spurious.training.released import Match, State, Target, match, part_hashes, sketch, target_of

_MOST, _NEAREST = 64, 8
"""Architectures that are compared in full: where the whole sketch of some is there, and else."""


def timm_body(name: str) -> Any:
    """Return a timm classifier without its last layer, with random weights.

    Raises:
        ConfigError: timm has none of that name.
    """
    import timm

    if not timm.is_model(name):
        raise ConfigError(f"timm has no architecture '{name}'")
    return timm.create_model(name, pretrained=False, num_classes=0)


def has_maps(features: Any) -> bool:
    """Check whether what a timm classifier pools is maps: not tokens, and not several tensors."""
    return isinstance(features, torch.Tensor) and features.ndim == 4


def smp_encoder(name: str) -> Any:
    """Return an encoder of segmentation-models-pytorch with random weights.

    Raises:
        ConfigError: it has none of that name.
    """
    from segmentation_models_pytorch.encoders import get_encoder

    try:
        return get_encoder(name, weights=None)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"segmentation-models-pytorch has no encoder '{name}' ({str(error)[:80]})"
        ) from None


def is_architecture(name: str) -> bool:
    """Check a name as `sweeps stage weights --for` takes it."""
    known = timm_architectures()
    if name.startswith(TIMM_CLASSIFIER):
        return name.removeprefix(TIMM_CLASSIFIER) in known
    if name.startswith(TIMM_PREFIX):
        plain = name.removeprefix(TIMM_PREFIX)
        return plain in known and known[plain].encoder is not None
    return name in ENCODERS


def released_target(name: str, module: nn.Module | None = None) -> Target:
    """Return what a release of an architecture must hold.

    Args:
        name: The architecture.
        module: Its module, where there is one; None builds one without memory for its tensors.
    """
    if name.startswith(TIMM_CLASSIFIER):
        body = module or build_on_meta(lambda: timm_body(name.removeprefix(TIMM_CLASSIFIER)))
        return target_of(body, _classifier_names(body))
    if module is None:
        module = build_on_meta(lambda: smp_encoder(name))
    if not name.startswith(TIMM_PREFIX):
        return target_of(module)
    plain = name.removeprefix(TIMM_PREFIX)
    return _features_target(module, build_on_meta(lambda: timm_body(plain)))


def build_on_meta(build: Callable[[], Any]) -> Any:
    """Build a module without memory for its tensors, where its code allows that."""
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError):
        with torch.random.fork_rng(devices=[]):
            return build()


def _classifier_names(body: Any) -> tuple[str, ...]:
    """Return what the names of a timm model's classifier begin with."""
    names = body.default_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def _features_target(encoder: nn.Module, body: Any) -> Target:
    """Return the target of a `tu-` encoder: a timm model whose modules are wrapped and renamed.

    timm writes `stages_0.` for `stages.0.` where it flattens a model to list its feature maps, and
    leaves out what lies behind the last map. Releases are of the whole model.
    """
    released = body.state_dict().keys()
    flattened = {re.sub(r"^([^.]+)\.", r"\1_", name, count=1): name for name in released}
    state = encoder.state_dict()
    keys: dict[str, str] = {}
    for key in state:
        name = key.removeprefix("model.")
        name = name if name in released else name.removeprefix("model.")
        keys[name if name in released else flattened.get(name, key)] = key
    heads = _classifier_names(body)
    return Target(
        keys,
        {name: state[key].shape for name, key in keys.items()},
        lambda name: name in released or name.startswith(heads),
    )


def match_released(state: State, name: str, module: nn.Module | None = None) -> Match:
    """Compare a state dict with an architecture; arguments as of `released_target`.

    A file that was saved from a `tu-` encoder itself fits that, too.
    """
    target = released_target(name, module)
    best = match(state, target)
    if best.fits or all(name == key for name, key in target.keys.items()):
        return best
    as_saved = Target(
        {key: key for key in target.keys.values()},
        {key: target.shapes[name] for name, key in target.keys.items()},
        lambda name: False,
    )
    saved = match(state, as_saved)
    return saved if saved.fits else best


def recognise(state: State) -> Mapping[str, Match]:
    """Compare a state dict with the architectures whose tensors are most like its own.

    Returns:
        Architecture to match: all that fit; where none does the nearest one, or none at all.
    """
    matches = {name: match_released(state, name) for name in _with_encoders(_nearest(state))}
    fitting = {name: each for name, each in matches.items() if each.fits}
    if fitting or not matches:
        return fitting
    best = max(matches, key=lambda name: len(matches[name].state) - len(matches[name].missing))
    return {best: matches[best]}


def _nearest(state: State) -> list[str]:
    """Return the architectures most of whose sketch is in a state dict.

    A sketch is of few tensors: a smaller architecture's may be in a larger one's file. Those whose
    sketch is the file's come first.
    """
    hashes, smallest = part_hashes(state), set(sketch(state))
    of_timm = {TIMM_CLASSIFIER + name: row.sketch for name, row in timm_architectures().items()}
    sketches = {**encoder_sketches(), **of_timm}
    shared = {name: len(hashed & hashes) / len(hashed) for name, hashed in sketches.items()}
    most = max(shared.values())
    nearest = [name for name, share in shared.items() if share == most > 0]
    nearest.sort(key=lambda name: -len(sketches[name] & smallest))
    return nearest[: _MOST if most == 1 else _NEAREST]


def _with_encoders(names: list[str]) -> list[str]:
    """Return architectures and, next to each of timm's, the encoder made of it."""
    both = list(names)
    for name in names:
        encoder = TIMM_PREFIX + name.removeprefix(TIMM_CLASSIFIER)
        if name.startswith(TIMM_CLASSIFIER) and is_architecture(encoder):
            both.append(encoder)
    return both
