"""What every reader and generator promises: index and records agree, the same each time."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_values import GENERATOR_VALUES, READER_VALUES

from spurious.config.datasets import GENERATORS, READERS
from spurious.data.records import GeneratedSource, Record, RecordSource
from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.generators import open_generator
from sweeps.staging.sources import open_reader


def content(record: Record) -> bytes:
    """Everything in a record that decides results; of what may be absent, what is there."""
    apart = ("image", "mask", "boxes", "covariates", "outline", "overlaps", "features")
    fields = {name: value for name, value in vars(record).items() if name not in apart}
    if fields["class_number"] is None:
        del fields["class_number"]
    drawn = [array for array in (record.mask, record.boxes) if array is not None]
    pixels = b"".join(array.tobytes() for array in (record.image, *drawn))
    return repr(sorted(fields.items())).encode() + pixels


def every(source: RecordSource) -> list[Record]:
    """All records of a source."""
    return [source.load(sample_id) for sample_id in source.index()]


def assert_whole(source: RecordSource, images: int) -> None:
    """Ids ascend and are the records' own, all of one shape; a copy for workers loads the same."""
    ids, records = list(source.index()), every(source)
    assert ids == sorted(set(ids)) == [record.sample_id for record in records]
    assert len(ids) == images
    assert {record.split for record in records} == set(SPLITS)
    assert {record.label for record in records} == {0, 1}
    for record in records:
        assert record.image.shape == records[0].image.shape
        assert record.image.dtype == records[0].image.dtype
        if record.mask is not None:
            assert record.mask.shape == record.image.shape[:2]
            assert record.mask.dtype == np.bool_
        assert source.partial or (record.mask is not None and record.boxes is None)
        regions = record.mask if record.mask is not None else record.boxes
        drawn = regions is not None and bool(regions.any())
        assert drawn or not record.label or regions is None
        assert (record.abnormalities > 0) == drawn
        assert tuple(sorted(record.attributes)) == tuple(sorted(source.attribute_names))
    assert source.provenance()
    copy: RecordSource = pickle.loads(pickle.dumps(source))
    assert [content(r) for r in every(copy)] == [content(r) for r in records]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small release in each reader's format."""
    folders = {}
    for name, values in READER_VALUES.items():
        folders[name] = tmp_path_factory.mktemp("releases") / name
        values.write(folders[name])
    return folders


@pytest.mark.parametrize("name", READERS)
class TestReader:
    """One reader, on a small release in its format."""

    def reader(self, name: str, folder: Path) -> Any:
        """The reader with its test values."""
        return open_reader(name, folder, READERS[name](**READER_VALUES[name].options))

    def test_reads_every_record(self, releases: dict[str, Path], name: str) -> None:
        """Another reader of the same folder gives the same bytes and hashes."""
        reader, again = (self.reader(name, releases[name]) for _ in range(2))
        assert_whole(reader, READER_VALUES[name].images)
        assert [content(r) for r in every(again)] == [content(r) for r in every(reader)]
        assert again.provenance() == reader.provenance()

    @pytest.mark.parametrize("damage", ["cut", "empty", "other"])
    def test_names_a_damaged_file(
        self, releases: dict[str, Path], name: str, damage: str, tmp_path: Path
    ) -> None:
        """An error with the file's name for each of its records, and none for the others."""
        folder = Path(shutil.copytree(releases[name], tmp_path / "release"))
        reader = self.reader(name, folder)
        paths = [reader.image_path(sample_id) for sample_id in reader.index()]
        file = min(path for path in paths if path.match(READER_VALUES[name].image))
        data = file.read_bytes()
        file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"text"}[damage])
        errors = []
        for sample_id in reader.index():
            try:
                reader.load(sample_id)
            except DataError as error:
                errors.append(str(error))
        assert len(errors) == paths.count(file)  # a volume has several records
        assert all(file.name in message for message in errors)

    def test_names_a_missing_folder(self, name: str, tmp_path: Path) -> None:
        """Before anything is decoded."""
        with pytest.raises(DataError, match="nowhere"):
            self.reader(name, tmp_path / "nowhere").index()


@pytest.mark.parametrize("name", GENERATORS)
class TestGenerator:
    """One generator."""

    def source(self, name: str, **changes: Any) -> GeneratedSource:
        """The generator with its test values."""
        values = {**GENERATOR_VALUES[name].options, **changes}
        return open_generator(name, GENERATORS[name](**values))

    def test_is_deterministic(self, name: str) -> None:
        """It has its registry's name, and another seed gives other pixels."""
        source = self.source(name)
        options = GENERATORS[name](**GENERATOR_VALUES[name].options)
        assert source.name == name
        assert_whole(source, options.n_train + options.n_val + options.n_test)
        assert {record.image.dtype.name for record in every(source)} == {options.DTYPE}
        others = every(self.source(name, seed=1))
        assert not {content(record) for record in every(source)} & {content(r) for r in others}

    def test_knows_labels_without_pixels(self, name: str) -> None:
        """What a plan prices before staging is what staging finds, image by image."""
        source = self.source(name)
        for split in SPLITS:
            table = source.split_table(split)
            records = [record for record in every(source) if record.split == split]
            assert table.labels.tolist() == [record.label for record in records]
            assert table.abnormalities.tolist() == [record.abnormalities for record in records]
            assert table.attributes.tolist() == [
                [record.attributes[attribute] for attribute in source.attribute_names]
                for record in records
            ]

    def test_version_pins_its_pixels(self, name: str) -> None:
        """Where this fails, pixels moved: raise the generator's `VERSION`, and give it a digest."""
        digest = hashlib.sha256(b"".join(content(record) for record in every(self.source(name))))
        assert GENERATOR_VALUES[name].golden == {GENERATORS[name].VERSION: digest.hexdigest()}
