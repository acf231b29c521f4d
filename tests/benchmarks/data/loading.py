"""First and later epochs of loading, ours beside its peers: same server, images and machine.

Every way runs in a process of its own, one after the other, `rounds` times in turns; the best of
each figure counts. What is delivered is alike: shuffled batches of uint8 images, bool masks and
labels, in the memory of the process that trains. Bytes are those of the objects that a way reads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from PIL import Image

from cluster.datasets.commit import commit_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.embedded.server import Endpoint, embedded_server
from cluster.stores import open_store
from spurious.data.records import Record

HERE = Path(__file__).parent
PEERS = ("decode", "mosaicml", "litdata", "webdataset", "memmap", "gather")
PACKAGES = ("mosaicml-streaming==0.13.0", "litdata==0.2.76", "webdataset==1.0.2", "boto3")
STREAMING = ("mosaicml", "litdata", "webdataset")


@dataclass(frozen=True)
class Setting:
    """One size of images and batches."""

    name: str
    images: int
    side: int
    channels: int
    batch: int


SETTINGS = (
    Setting("224x224x3", 3000, 224, 3, 64),
    Setting("512x512x1", 1500, 512, 1, 16),
)


def make_peer_environment(folder: Path) -> Path:
    """Install the peers beside the project, once; returns their Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [str(Path(sys.executable).with_name("uv"))]
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES]
        subprocess.run(install, check=True)
    return python


def make_arrays(setting: Setting, folder: Path) -> None:
    """Write images, packed masks and labels, as the peers and the staging below take them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    shape = (setting.side, setting.side, setting.channels)
    tiles = rng.integers(0, 256, (16, *shape), dtype=np.uint8)
    images = np.stack([np.roll(tiles[i % 16], i, axis=0) for i in range(setting.images)])
    masks = np.zeros((setting.images, *shape[:2]), bool)
    for i in range(0, setting.images, 2):
        top = i % (setting.side - 40)
        masks[i, top : top + 40, 20:60] = True
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", np.packbits(masks.reshape(setting.images, -1), axis=1))
    np.save(folder / "labels.npy", (np.arange(setting.images) + 1) % 2)


def write_files(setting: Setting, arrays: Path, folder: Path) -> int:
    """Write a tenth of the images as PNG files of twice their side, to be decoded each epoch."""
    images, masks = (np.load(arrays / f"{n}.npy", mmap_mode="r") for n in ("images", "masks"))
    count = setting.images // 10
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        image = np.asarray(images[i]).repeat(2, axis=0).repeat(2, axis=1)
        bits = np.unpackbits(masks[i], count=setting.side**2).reshape(setting.side, -1)
        mask = (bits * 255).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
        Image.fromarray(image[:, :, 0] if setting.channels == 1 else image).save(
            folder / "images" / f"{i:05d}.png", compress_level=1
        )
        Image.fromarray(mask).save(folder / "masks" / f"{i:05d}.png", compress_level=1)
    return count


def stage_arrays(setting: Setting, arrays: Path, store_url: str) -> None:
    """Stage the same images as a dataset of training images, as `sweeps stage` writes shards."""
    store = open_store(store_url)
    names = ("images", "masks", "labels")
    images, masks, labels = (np.load(arrays / f"{name}.npy", mmap_mode="r") for name in names)
    side = setting.side
    records = (
        Record(
            sample_id=f"{i:06d}",
            patient_id=f"{i:06d}",
            split="train",
            label=int(labels[i]),
            image=np.array(images[i]),
            mask=np.unpackbits(masks[i], count=side * side).view(bool).reshape(side, side),
            abnormalities=int(labels[i]),
            attributes={"mark": i % 3 == 0},
        )
        for i in range(setting.images)
    )
    name = f"bench-{setting.name}"
    shards = write_shards(store, name, records, ["mark"])
    commit_manifest(store, build_manifest(name, shards))


def upload(folder: Path, prefix: str, client: Any, bucket: str) -> int:
    """Put all files of a folder under a prefix; return their bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in paths:
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
    return sum(path.stat().st_size for path in paths)


def run_way(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Run one way in a process; its last line of output is its figures."""
    outcome = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1800
    )
    if outcome.returncode:
        raise RuntimeError(f"{command[1:4]}: {outcome.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(outcome.stdout.strip().splitlines()[-1])
    return figures


def compare(
    setting: Setting, rounds: int, epochs: int, peers: Path, scratch: Path, server: Endpoint
) -> list[str]:
    """Measure every way on one setting; returns lines of Markdown."""
    arrays, formats = scratch / "arrays", scratch / "formats"
    make_arrays(setting, arrays)
    decoded = write_files(setting, arrays, scratch / "files")
    subprocess.run(
        [peers, HERE / "peer_formats.py", arrays, formats], check=True, capture_output=True
    )
    client = boto3.client("s3", endpoint_url=server.url)
    sizes = {
        kind: upload(formats / kind, f"{setting.name}/{kind}", client, server.bucket)
        for kind in ("mds", "litdata", "tars")
    }
    upload(arrays, f"{setting.name}/arrays", client, server.bucket)
    shutil.rmtree(formats)
    store_url = f"s3://{server.bucket}/store"
    stage_arrays(setting, arrays, store_url)
    sizing = ["--images", str(setting.images), "--batch", str(setting.batch)]
    sizing += ["--epochs", str(epochs)]
    theirs = ["--name", setting.name, *sizing, "--side", str(setting.side)]
    theirs += ["--files", str(scratch / "files"), "--mds-bytes", str(sizes["mds"])]
    theirs += ["--litdata-bytes", str(sizes["litdata"]), "--tar-bytes", str(sizes["tars"])]
    ours = ["--store", store_url, "--name", f"bench-{setting.name}", *sizing]
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for way in (*PEERS, "ours"):
            with tempfile.TemporaryDirectory(dir=scratch) as work:
                command = [str(peers), str(HERE / "peers.py"), way, work, *theirs]
                if way == "decode":
                    command += ["--images", str(decoded)]
                if way == "ours":
                    command = [sys.executable, str(HERE / "ours.py"), work, *ours]
                results.setdefault(way, []).append(
                    run_way(command, {"BENCH_BUCKET": server.bucket})
                )
    return render(setting, results)


def render(setting: Setting, results: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """A table of the best figures, and the goals under it."""
    best = {way: max(runs, key=lambda run: run["later"]) for way, runs in results.items()}
    first = {way: max(run["first"] for run in runs) for way, runs in results.items()}
    lines = [
        f"{setting.name}, {setting.images} images, batches of {setting.batch}",
        "",
        "| way | first epoch, images/s | later, images/s | CPU s first | CPU s later | MB fetched "
        "| peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way, run in best.items():
        lines.append(
            f"| {way} | {first[way]:,.0f} | {run['later']:,.0f} | {run['cpu_first']:.1f} "
            f"| {run['cpu_later']:.1f} | {run['fetched_mb']:,.0f} | {run['peak_mb']:,.0f} |"
        )
    streaming = max(best[way]["later"] for way in STREAMING)
    fastest_first = max(first[way] for way in (*STREAMING, "memmap"))
    ours = best["ours"]["later"]
    lines += [
        "",
        f"first epoch against the best peer: {first['ours'] / fastest_first:.2f} (goal 1)",
        f"later epochs against the best streaming peer: {ours / streaming:.1f} (goal 10)",
        f"later epochs against a plain gather: {ours / best['gather']['later']:.2f} (goal 0.8)",
        "",
    ]
    return lines


def run(folder: Path, rounds: int, epochs: int, scale: float) -> list[str]:
    """Compare on every setting; `folder` keeps the peers' environment between runs."""
    peers = make_peer_environment(folder / "peers")
    lines = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-loading-", dir=folder) as scratch,
        embedded_server(Path(scratch) / "home") as server,
    ):
        os.environ.update(server.environment())
        for each in SETTINGS:
            setting = replace(each, images=max(64, int(each.images * scale)))
            with tempfile.TemporaryDirectory(dir=scratch) as work:
                lines += compare(setting, rounds, epochs, peers, Path(work), server)
    return lines
