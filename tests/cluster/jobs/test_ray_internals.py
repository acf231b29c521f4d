"""Ray's private interfaces: one module uses them, and they exist in the installed Ray."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray.air.execution._internal import actor_manager
from ray.tune.execution.tune_controller import TuneController

from cluster.jobs import ray_internals
from cluster.jobs.ray_internals import (
    ACTOR_NAME,
    CONTROLLER_ATTRIBUTES,
    LOG_MARKS,
    MANAGER_ATTRIBUTES,
    PRIVATE_NAMES,
    TEMPORARY_FOLDER,
    WRITTEN_FOR,
)

ROOT = Path(__file__).resolve().parents[3]
SOURCE = Path(ray_internals.__file__)
PRIVATE = re.compile(
    r"internal_kv|_do_request|_temp_dir\b|\bray\._|_raylet|ray\.(?:_private|air|dashboard)\b"
    r"|ray\.tune\.(?:execution|impl)\b|get_draining_nodes"
)


def resolve(name: str) -> object:
    """The object of a dotted name; raises ImportError or AttributeError where it is missing."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise ImportError(name)


def test_the_module_was_written_for_the_installed_ray() -> None:
    """A new Ray fails here first, and says what to look at."""
    if not ray.__version__.startswith(f"{WRITTEN_FOR}."):
        pytest.fail(
            f"Ray {ray.__version__} is installed, and {SOURCE.relative_to(ROOT)} was written for "
            f"{WRITTEN_FOR}: check what each of its private names does there, then raise "
            "WRITTEN_FOR"
        )


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_every_private_name_exists(name: str) -> None:
    """What is used of Ray is there; signatures are those that the functions here call."""
    private = resolve(name)
    if "_internal_kv_" in name:
        assert "namespace" in inspect.signature(private).parameters  # type: ignore[arg-type]


def test_tunes_controller_has_the_attributes_that_forgetting_reads() -> None:
    """It sets each when it is made: an instance's attributes are in no class."""
    made = inspect.getsource(TuneController.__init__)
    for name in CONTROLLER_ATTRIBUTES:
        assert re.search(rf"self\.{name}\b", made), name


def test_tunes_manager_of_actors_has_the_attributes_that_losses_read() -> None:
    """A lost actor's id is read from them."""
    made = inspect.getsource(actor_manager)
    for name in MANAGER_ATTRIBUTES:
        assert re.search(rf"\.{name}\b", made), name


def test_the_list_of_private_names_is_whole() -> None:
    """Each private attribute in the module is in a list, and Ray still reads the folder's."""
    listed = {part for name in PRIVATE_NAMES for part in name.split(".")}
    listed |= {*CONTROLLER_ATTRIBUTES, *MANAGER_ATTRIBUTES}
    tree = ast.walk(ast.parse(SOURCE.read_text()))
    used = {node.attr for node in tree if isinstance(node, ast.Attribute)}
    assert {name for name in used if re.match(r"_[a-z]", name)} <= listed
    assert TEMPORARY_FOLDER in inspect.getsource(ray.init)


def test_marks_of_worker_logs_are_rays() -> None:
    """What is left out of a log, and what names a worker's lines, is what Ray writes there."""
    constants = importlib.import_module("ray._private.ray_constants")
    marks = {getattr(constants, f"LOG_PREFIX_{name}") for name in ("JOB_ID", "TASK_NAME")}
    assert set(LOG_MARKS) == {*marks, ACTOR_NAME}
    assert constants.LOG_PREFIX_ACTOR_NAME == ACTOR_NAME


def test_no_other_module_uses_a_private_name_of_ray() -> None:
    """A new Ray touches one file; tests may look where they must."""
    others = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in ("cluster", "spurious", "sweeps")
        for path in (ROOT / package).rglob("*.py")
        if path != SOURCE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if PRIVATE.search(line)
    ]
    assert others == []
    assert len(PRIVATE.findall(SOURCE.read_text())) > 10


START = """
import ctypes, os, signal
import ray
from cluster.jobs.ray_internals import keep_sigterm_handler

def interrupt(number, frame):
    raise KeyboardInterrupt

def connect():  # as Ray's own: a handler set below Python, and a signal before Python looks
    ctypes.CDLL(None).signal(signal.SIGTERM, None)
    os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGTERM, interrupt)
ray._raylet.CoreWorker = connect
try:
    with keep_sigterm_handler():
        ray._private.utils.set_sigterm_handler(lambda number, frame: os._exit(9))
        ray._raylet.CoreWorker()
except KeyboardInterrupt:
    print(signal.getsignal(signal.SIGTERM) is interrupt, ray._raylet.CoreWorker is connect)
"""


def test_a_signal_while_a_session_starts_meets_this_projects_handler() -> None:
    """Ray's handlers would abort the process, or exit without its clean-up."""
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True True\n")
