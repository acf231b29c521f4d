"""One way to load a dataset, in a process and an environment of its own: first and later epochs.

Run by `loading.py`; prints one line of JSON. Needs nothing of this project. Each way uses what its
documentation recommends:

- decode: files decoded and resized each epoch, as in the code that Saab et al. 2022 released, by
  PyTorch's `DataLoader` with 2 workers
- mosaicml: https://docs.mosaicml.com/projects/streaming: MDS shards of 67 MB, raw `ndarray`
  columns, `StreamingDataset(shuffle=True, batch_size=...)`, `StreamingDataLoader` with 2 workers
- litdata: https://github.com/Lightning-AI/litdata: `optimize` into 64 MB chunks,
  `StreamingDataset` with `shuffle=True`, `StreamingDataLoader` with 2 workers
- webdataset: https://github.com/webdataset/webdataset: tar shards, `cache_dir`, a shuffle buffer of
  1,000, batches made in the workers, `WebLoader` with 2 workers
- memmap: arrays downloaded once and mapped, a plain `Dataset` behind 2 workers
- gather: arrays downloaded once and mapped, rows gathered in the main process: the limit
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

WORKERS = 2
Batches = Callable[[int], Iterator[int]]
"""Yields, for an epoch, the number of images in each batch as it arrives."""


def unpack(bits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return masks from packed bits, (..., bytes) uint8 to (..., H, W) bool."""
    size = shape[0] * shape[1]
    return np.unpackbits(bits, axis=-1, count=size).view(bool).reshape(*bits.shape[:-1], *shape)


def client() -> Any:
    """Return an S3 client of the server in the environment."""
    import boto3

    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def download_folder(prefix: str, folder: Path) -> int:
    """Download all objects under a prefix with 8 threads; return their bytes."""
    s3, bucket = client(), os.environ["BENCH_BUCKET"]
    listing = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    objects = [each for page in listing for each in page.get("Contents", ())]

    def fetch(each: dict[str, Any]) -> int:
        path = folder / Path(each["Key"]).name
        s3.download_file(bucket, each["Key"], str(path))
        return int(each["Size"])

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(fetch, objects))


class MappedRows:
    """Images, masks and labels of mapped arrays, a row at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays: tuple[np.ndarray, ...] | None = None
        self.count = len(np.load(folder / "labels.npy"))

    def __len__(self) -> int:
        return self.count

    def open(self) -> tuple[np.ndarray, ...]:
        """Map the arrays in this process."""
        if self.arrays is None:
            names = ("images", "masks", "labels")
            self.arrays = tuple(np.load(self.folder / f"{n}.npy", mmap_mode="r") for n in names)
        return self.arrays

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray, int]:
        images, masks, labels = self.open()
        image = np.array(images[row])
        return image, unpack(np.asarray(masks[row]), image.shape[:2]), int(labels[row])


class Files:
    """PNG files of images and masks, decoded and resized each time."""

    def __init__(self, folder: Path, side: int) -> None:
        self.images = sorted((folder / "images").iterdir())
        self.masks = sorted((folder / "masks").iterdir())
        self.side = side

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray, int]:
        from PIL import Image

        size = (self.side, self.side)
        image = np.array(Image.open(self.images[row]).resize(size, Image.Resampling.BILINEAR))
        mask = np.array(Image.open(self.masks[row]).resize(size, Image.Resampling.NEAREST))
        return image.reshape(self.side, self.side, -1), mask > 0, row % 2


def torch_batches(dataset: Any, batch: int, loader: Any = None, **options: Any) -> Batches:
    """Batches of a dataset behind PyTorch's loader with two workers, kept between epochs."""
    from torch.utils.data import DataLoader

    made = (loader or DataLoader)(
        dataset, batch_size=batch, num_workers=WORKERS, persistent_workers=True, **options
    )

    def epoch(number: int) -> Iterator[int]:
        for images, *_ in made:
            yield len(images)

    return epoch


def load_decode(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Decode every epoch; the files are on the local disk from the beginning."""
    return torch_batches(Files(options.files, options.side), options.batch, shuffle=True), 0


def load_memmap(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Download arrays, map them in two workers."""
    fetched = download_folder(f"{options.name}/arrays/", work)
    return torch_batches(MappedRows(work), options.batch, shuffle=True), fetched


def load_gather(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Download arrays, gather shuffled rows here: nothing that shuffles can be faster."""
    fetched = download_folder(f"{options.name}/arrays/", work)
    images, masks, labels = MappedRows(work).open()
    shape = images.shape[1:3]

    def epoch(number: int) -> Iterator[int]:
        order = np.random.default_rng(number).permutation(len(labels))
        for start in range(0, len(order), options.batch):
            rows = order[start : start + options.batch]
            batch = images[rows], unpack(masks[rows], shape), labels[rows]
            yield len(batch[0])

    return epoch, fetched


def load_mosaicml(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Stream MDS shards."""
    from streaming import StreamingDataLoader, StreamingDataset

    class Rows(StreamingDataset):
        def __getitem__(self, at: int) -> Any:
            row = super().__getitem__(at)
            return row["image"], unpack(row["mask"], row["image"].shape[:2]), row["label"]

    dataset = Rows(
        remote=f"s3://{os.environ['BENCH_BUCKET']}/{options.name}/mds",
        local=str(work / "mds"),
        shuffle=True,
        batch_size=options.batch,
    )
    return torch_batches(dataset, options.batch, StreamingDataLoader), options.mds_bytes


def load_litdata(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Stream LitData's chunks."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # no option of its own on loopback

    class Rows(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            row = super().__getitem__(at)
            return row["image"], unpack(row["mask"], row["image"].shape[:2]), row["label"]

    dataset = Rows(
        f"s3://{os.environ['BENCH_BUCKET']}/{options.name}/litdata",
        cache_dir=str(work / "litdata"),
        shuffle=True,
        max_cache_size="50GB",
        storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
    )
    return torch_batches(dataset, options.batch, StreamingDataLoader), options.litdata_bytes


def load_webdataset(work: Path, options: argparse.Namespace) -> tuple[Batches, int]:
    """Stream tar shards, cached on disk."""
    import webdataset as wds

    (work / "tars").mkdir()
    s3, bucket = client(), os.environ["BENCH_BUCKET"]
    listing = s3.list_objects_v2(Bucket=bucket, Prefix=f"{options.name}/tars/")["Contents"]
    urls = [
        s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": each["Key"]}, 3600)
        for each in listing
    ]

    def decode(row: tuple[bytes, bytes, bytes]) -> Any:
        image, mask = (np.load(io.BytesIO(part)) for part in row[:2])
        return image, unpack(mask, image.shape[:2]), int(row[2])

    dataset = (
        wds.WebDataset(
            [f"pipe:curl -s -f '{url}'" for url in urls],
            shardshuffle=len(urls),
            cache_dir=str(work / "tars"),
            url_to_name=lambda url: url.partition("?")[0].rpartition("/")[2],
            empty_check=False,
        )
        .shuffle(1000)
        .to_tuple("image.npy", "mask.npy", "label")
        .map(decode)
        .batched(options.batch)
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=WORKERS, persistent_workers=True)

    def epoch(number: int) -> Iterator[int]:
        for images, *_ in loader:
            yield len(images)

    return epoch, options.tar_bytes


def measure(load: Callable[[], tuple[Batches, int]], images: int, epochs: int) -> dict[str, float]:
    """Time the first epoch with all that comes before it, and the later ones apart."""
    memory = PeakMemory()
    began, cpu = time.perf_counter(), cpu_seconds()
    batches, fetched = load()
    seen = sum(batches(0))
    first = time.perf_counter() - began
    later, cpu_later, cpu_first = [], [], cpu_seconds() - cpu
    for epoch in range(1, epochs + 1):
        began, cpu = time.perf_counter(), cpu_seconds()
        seen += sum(batches(epoch))
        later.append(time.perf_counter() - began)
        cpu_later.append(cpu_seconds() - cpu)
    if seen != images * (epochs + 1):
        raise RuntimeError(f"{seen} images came, expected {images * (epochs + 1)}")
    later.sort()
    return {
        "first": images / first,
        "later": images / later[len(later) // 2],
        "cpu_first": cpu_first,
        "cpu_later": sorted(cpu_later)[len(cpu_later) // 2],
        "fetched_mb": fetched / 1e6,
        "peak_mb": memory.stop() / 1e6,
    }


def cpu_seconds() -> float:
    """Processor time of this process, its threads, and its live and ended children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    tick = os.sysconf("SC_CLK_TCK")
    for child in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / tick
    return total


def descendants(pid: int) -> list[int]:
    """Processes below one."""
    try:
        text = " ".join(p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return []
    children = [int(word) for word in text.split()]
    return children + [below for child in children for below in descendants(child)]


class PeakMemory:
    """Samples the proportional set size of this process and its children, ten times a second."""

    def __init__(self) -> None:
        self.peak, self.ended = 0, threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self) -> None:
        """Until stopped."""
        while not self.ended.wait(0.1):
            pids = [os.getpid(), *descendants(os.getpid())]
            self.peak = max(self.peak, sum(map(proportional_bytes, pids)))

    def stop(self) -> int:
        """Bytes at the highest."""
        self.ended.set()
        self.thread.join()
        return self.peak


def proportional_bytes(pid: int) -> int:
    """PSS of a process; 0 where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(x.split()[1]) * 1024 for x in text.splitlines() if x.startswith("Pss:")), 0)


LOADERS = {
    name.removeprefix("load_"): function
    for name, function in list(globals().items())
    if name.startswith("load_")
}


def main() -> None:
    """Measure one way and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=LOADERS)
    parser.add_argument("work", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--files", type=Path)
    for name in ("images", "side", "batch", "epochs", "mds_bytes", "litdata_bytes", "tar_bytes"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0)
    options = parser.parse_args()
    result = measure(
        lambda: LOADERS[options.way](options.work, options), options.images, options.epochs
    )
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # some loaders wait for their workers forever


if __name__ == "__main__":
    main()
