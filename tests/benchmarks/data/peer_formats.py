"""Writes arrays in the formats of the peers; runs in their environment. Prints bytes as JSON."""

from __future__ import annotations

import json
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

_ROWS: tuple[Any, Any, Any] | None = None


def rows(arrays: Path) -> tuple[Any, Any, Any]:
    """Map the arrays."""
    return tuple(np.load(arrays / f"{n}.npy", mmap_mode="r") for n in ("images", "masks", "labels"))


def write_mds(arrays: Path, out: Path) -> None:
    """MosaicML's shards."""
    from streaming import MDSWriter

    images, masks, labels = rows(arrays)
    kind = "x".join(map(str, images.shape[1:])).replace("x", ",")
    columns = {"image": f"ndarray:uint8:{kind}", "mask": f"ndarray:uint8:{masks.shape[1]}"}
    with MDSWriter(out=str(out), columns={**columns, "label": "int"}) as writer:
        for i in range(len(labels)):
            row = {"image": np.array(images[i]), "mask": np.array(masks[i])}
            writer.write({**row, "label": int(labels[i])})


def litdata_row(at: tuple[str, int]) -> dict[str, Any]:
    """One row, by its number."""
    images, masks, labels = rows(Path(at[0]))
    i = at[1]
    return {"image": np.array(images[i]), "mask": np.array(masks[i]), "label": int(labels[i])}


def write_litdata(arrays: Path, out: Path) -> None:
    """LitData's chunks."""
    from litdata import optimize

    count = len(rows(arrays)[2])
    optimize(
        fn=litdata_row,
        inputs=[(str(arrays), i) for i in range(count)],
        output_dir=str(out),
        chunk_bytes="64MB",
        num_workers=2,
    )


def write_tars(arrays: Path, out: Path) -> None:
    """WebDataset's shards of 64 MB."""
    images, masks, labels = rows(arrays)
    per_shard = max(1, 64_000_000 // (images[0].nbytes + masks[0].nbytes))
    out.mkdir(parents=True)
    for start in range(0, len(labels), per_shard):
        with tarfile.open(out / f"shard-{start // per_shard:05d}.tar", "w") as tar:
            for i in range(start, min(start + per_shard, len(labels))):
                parts = {"image.npy": npy(images[i]), "mask.npy": npy(masks[i])}
                for name, data in {**parts, "label": str(int(labels[i])).encode()}.items():
                    info = tarfile.TarInfo(f"{i:06d}.{name}")
                    info.size = len(data)
                    tar.addfile(info, BytesIO(data))


def npy(array: Any) -> bytes:
    """An array as the bytes of a .npy file."""
    sink = BytesIO()
    np.save(sink, np.array(array))
    return sink.getvalue()


def main() -> None:
    """Write all three below a folder."""
    arrays, out = map(Path, sys.argv[1:3])
    write_mds(arrays, out / "mds")
    write_litdata(arrays, out / "litdata")
    write_tars(arrays, out / "tars")
    sizes = {
        name: sum(p.stat().st_size for p in (out / name).rglob("*") if p.is_file())
        for name in ("mds", "litdata", "tars")
    }
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
