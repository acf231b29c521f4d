"""Staging against bare decoding: the same films, processes and minutes, side by side.

Bare decoding reads every file with pydicom or Pillow, and shrinks with OpenCV's INTER_AREA, in as
many processes as staging has; both keep freed memory, see `keep_freed_memory`. Staging decodes the
same files, checks them, counts and shrinks masks, hashes, and writes shards and manifest into a
folder. Ray's start, the first import of the libraries in its workers, and memory are measured
apart. The rounds take turns; the best of each counts. CPU time is of all processes below this one,
so that it holds on a machine that has other work to do, where images a second do not.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from peak_memory import measure_peak, read_stats, sum_pss
from PIL import Image

from cluster.jobs.session import ray_session
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions, SiimAcrOptions
from spurious.generators.chest.chest_phantom import ChestPhantom
from spurious.generators.chest.siim_writer import write_siim_acr
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.base import FolderReader
from spurious.readers.isic.isic import Isic
from spurious.readers.siim_acr.siim_acr import SiimAcr
from sweeps.staging.chunks import keep_freed_memory
from sweeps.staging.stage import stage

NATIVE = 1024
"""Pixels of a film's side, and of a lesion picture's width: SIIM's, and a common size of ISIC's."""

Paths = Sequence[Path]


@dataclass(frozen=True)
class Case:
    """What is staged: its name, source, and how one image's files are decoded barely."""

    name: str
    source: FolderReader[Any, Any]
    side: int
    decode: Callable[[Paths, int], int]


def decode_film(paths: Paths, side: int) -> int:
    """Decode and shrink a DICOM film; return its bytes."""
    pixels = pydicom.dcmread(paths[0]).pixel_array
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).nbytes


def decode_pictures(paths: Paths, side: int) -> int:
    """Decode and shrink a picture and its mask; return their bytes."""
    pixels = [np.asarray(Image.open(path)) for path in paths]
    small = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pixels]
    return sum(image.nbytes for image in small)


def prepare_process() -> None:
    """Give a bare process what a staging worker has."""
    cv2.setNumThreads(1)
    keep_freed_memory()


def decode_some(decode: Callable[[Paths, int], int], some: Sequence[Paths], side: int) -> int:
    """Decode a chunk in a bare process."""
    return sum(decode(paths, side) for paths in some)


def write_cases(folder: Path, images: int) -> list[Case]:
    """Write both releases once, half of the images positive."""
    sizes = {"n_train": images // 2, "n_val": images // 4, "n_test": images - images * 3 // 4}
    films, lesions = folder / f"films-{images}", folder / f"lesions-{images}"
    if not films.exists():
        write_siim_acr(films, ChestPhantom(size=NATIVE, prevalence=0.25, **sizes))
    if not lesions.exists():
        write_isic(lesions, SkinPhantom(width=NATIVE, prevalence=0.25, **sizes))
    cases = []
    for side in (512, 224):
        chest = SiimAcr(films, SiimAcrOptions(image_size=side))
        skin = Isic(lesions, IsicOptions(image_size=side))
        cases += [
            Case(f"chest films, {side} x {side} x 1", chest, side, decode_film),
            Case(f"lesions with masks, {side} x {side} x 3", skin, side, decode_pictures),
        ]
    return cases


def read_cpu_seconds() -> float:
    """Return the CPU time so far of this process and all below it that live."""
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in read_stats().values())
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Speed:
    """Images a second, and CPU milliseconds an image."""

    rate: float
    cpu_ms: float

    @staticmethod
    def measure(images: int, work: Callable[[], object]) -> Speed:
        """Time work on some images."""
        cpu, began = read_cpu_seconds(), time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        return Speed(images / seconds, 1000 * (read_cpu_seconds() - cpu) / images)


def measure_bare(case: Case, pool: ProcessPoolExecutor) -> Speed:
    """Decode all files in the pool."""
    files = [case.source.image_files(i) for i in case.source.index()]
    chunks = [files[start : start + 16] for start in range(0, len(files), 16)]

    def work() -> None:
        tasks = [pool.submit(decode_some, case.decode, chunk, case.side) for chunk in chunks]
        assert all(task.result() for task in tasks)

    return Speed.measure(len(files), work)


def measure_staging(case: Case) -> Speed:
    """Stage into a new folder."""
    with tempfile.TemporaryDirectory(prefix="bench-staging-") as folder:
        store = FolderStore(Path(folder))
        return Speed.measure(len(case.source.index()), lambda: stage(store, case.source, "bench"))


def measure_memory(folder: Path, images: int) -> list[str]:
    """Measure what staging holds above the session before it, of some images and of more."""
    lines, before = [], sum_pss()
    for number in range(2):
        peaks = []
        for count in (images // 4, images):
            case = write_cases(folder, count)[number]
            peak = measure_peak(lambda case=case: measure_staging(case))
            peaks.append((peak - before) / 1e6)
        lines.append(
            f"memory, {case.name}: at most {peaks[0]:,.0f} MB with {images // 4} images, "
            f"{peaks[1]:,.0f} MB with {images}"
        )
    return lines


def run(folder: Path, images: int, processes: int, rounds: int) -> list[str]:
    """Measure and return the lines of a Markdown table, with Ray's start below."""
    cases, small = write_cases(folder, images), write_cases(folder, 16)
    lines = [
        f"| {images} images of {NATIVE} pixels, {processes} processes | bare, images/s "
        "| staging, images/s | ratio | bare, CPU ms | staging, CPU ms | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pool = stack.enter_context(
            ProcessPoolExecutor(processes, mp_context=spawn, initializer=prepare_process)
        )
        began = time.perf_counter()
        stack.enter_context(ray_session("bench-staging", cpus=processes))
        started = time.perf_counter()
        for case in small:  # imports, compiled loops
            measure_staging(case)
            measure_bare(case, pool)
        warm = time.perf_counter()
        held = measure_memory(folder, images)
        for case in cases:
            pairs = [(measure_bare(case, pool), measure_staging(case)) for _ in range(rounds)]
            bare, ours = (max(s.rate for s in speeds) for speeds in zip(*pairs, strict=True))
            least, most = (min(s.cpu_ms for s in speeds) for speeds in zip(*pairs, strict=True))
            lines.append(
                f"| {case.name} | {bare:.0f} | {ours:.0f} | {ours / bare:.2f} "
                f"| {least:.1f} | {most:.1f} | {least / most:.2f} |"
            )
            print(lines[-1], flush=True)
    lines += [
        "",
        *held,
        f"Ray's start {started - began:.1f} s, first imports {warm - started:.1f} s.",
    ]
    return lines
