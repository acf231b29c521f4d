"""What every method promises where there are more than two classes: it takes them, or says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from classed_images import CLASSES, ClassedSource
from contract_values import METHOD_VALUES, MODEL_VALUES
from method_sweeps import Sweep, assert_resumes, group_by_model, method_list, run_sweep
from small_data import no_weights, values

from cluster.stores.base import Store
from spurious.config import methods
from spurious.config.models import CLASSIFIERS
from spurious.training.models import build
from sweeps.plan.facts import plan_on
from sweeps.plan.notes import plan_notes
from sweeps.results import tables as results
from sweeps.spec.model import Spec
from sweeps.staging.stage import stage

EPOCHS, TRAIN, BUDGET, VAL, TEST = 3, 80, 40, 40, 24
TEXT = """
name: contract
dataset: classed
axes: {specificity: [label, mask], budget: [%d], method: %s, seed: [0]}
model: {classifier: %s, segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: %d, batch_size: 10, learning_rate: 0.01, augment: flip}
checkpoint: {every_epochs: 1}
"""


def classifies(name: str, kind: str) -> bool:
    """Whether a method trains a classifier there."""
    of = methods.METHODS[name](**METHOD_VALUES[name].options)
    return kind in of.takes and not of.segments(kind)  # type: ignore[arg-type]


EVERY = [
    (name, kind) for name in methods.METHODS for kind in ("label", "mask") if classifies(name, kind)
]
TAKEN = [case for case in EVERY if not methods.METHODS[case[0]].two_classes]
REFUSED = [case for case in EVERY if case not in TAKEN]


def stage_classed(store: Store, spec: Spec) -> None:
    """Images of four classes."""
    source = ClassedSource({"train": TRAIN, "val": VAL, "test": TEST})
    stage(store, source, "classed", in_process=True)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Sweep]]:
    """By method, the sweep that it is in; settings of torch are put back."""
    threads = torch.get_num_threads()
    found: dict[str, Sweep] = {}
    for classifier, names in group_by_model(list(methods.METHODS)).items():
        text = TEXT % (BUDGET, method_list(names), classifier, EPOCHS)
        swept = run_sweep(tmp_path_factory.mktemp("classes"), text, stage_classed)
        found |= dict.fromkeys(names, swept)
    yield found
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_some_methods_are_of_each_kind() -> None:
    """ERM takes any number of classes, and gradmask's contrast is of two logits."""
    assert ("erm", "label") in TAKEN
    assert ("gradmask", "mask") in REFUSED


@pytest.mark.parametrize(("name", "kind"), TAKEN)
class TestTaken:
    """A method that takes any number of classes."""

    def test_trains_and_tells_classes_apart(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """Its loss falls, from a last layer with a logit per class, and both metrics are there."""
        trained = sweeps[name].of(name, kind)
        kept = trained.fit.kept_state
        assert [key for key, value in trained.start.items() if torch.equal(kept[key], value)] == []
        assert kept["head.bias"].shape == (len(CLASSES),)
        losses = values(trained.fit, "train", "loss")
        assert losses[-1] < losses[0]
        for metric in ("auroc", "accuracy", "macro_auroc"):
            assert np.isfinite(values(trained.fit, "test", metric)).all()
            assert len(values(trained.fit, "test", metric)) == EPOCHS

    def test_stores_probabilities_that_make_the_score(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """Of each class in their order, of sum 1; the score is that of the abnormal one."""
        sweep = sweeps[name]
        alone = results.read_trials(sweep.store, {sweep.trials[name, kind].id})
        table = results.read_attempts(sweep.store, "predictions", alone).to_pandas()
        names = [each.name for each in CLASSES]
        columns = [f"probability_{each}" for each in names]
        assert table.columns[-5:].tolist() == ["class", *columns]
        np.testing.assert_allclose(table[columns].sum(axis=1), 1.0, atol=1e-6)
        assert (table["score"] == table["probability_square"]).all()
        numbers = table["sample_id"].str[-4:].astype(int) % len(names)
        assert table["class"].tolist() == [names[number] for number in numbers]
        assert ((table["class"] == "square") == (table["label"] == 1)).all()

    def test_resumes(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str, tmp_path: Path
    ) -> None:
        """Killed after epoch 1 of each of its stages, it continues there, bit for bit."""
        assert_resumes(sweeps[name], sweeps[name].trials[name, kind], tmp_path)

    def test_is_priced_as_labels_are(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """A class costs what a label does; half of the budget is abnormal."""
        sweep = sweeps[name]
        cell = sweep.trials[name, kind].cell
        of = (str(cell.specificity), str(cell.budget), str(cell.method))
        [row] = [
            row for row in sweep.cells if (row["specificity"], row["budget"], row["method"]) == of
        ]
        clicks = BUDGET // 2 * ({"label": 1, "mask": 45}[kind] + 1)
        clicks += BUDGET if cell.method.options.spurious_labels == "train" else 0
        clicks += METHOD_VALUES[name].further_clicks.get(kind, 0)
        bought = row["training_dollars"] + row["spurious_label_dollars"]
        assert bought == pytest.approx(clicks * 100 / 3600)
        assert row["dollars_mean"] == pytest.approx(bought + row["validation_dollars"])


def test_segmenters_have_neither_classes_nor_their_metrics(sweeps: Mapping[str, Sweep]) -> None:
    """Null where both kinds are read together; the plan says so."""
    sweep = sweeps["erm"]
    ids = [sweep.trials["erm", kind].id for kind in ("label", "mask")]
    both = results.read_attempts(
        sweep.store, "predictions", results.read_trials(sweep.store, ids)
    ).to_pandas()
    of_classes = ["class", *(f"probability_{each.name}" for each in CLASSES)]
    missing = both[of_classes].isna().groupby(both["trial_id"]).all().all(axis=1)
    assert missing.to_dict() == dict(zip(ids, (False, True), strict=True))
    fitted = sweep.of("erm", "mask").fit
    assert not {"macro_auroc", "accuracy"} & {row.metric for row in fitted.rows}
    [note] = [note for note in plan_notes(plan_on(sweep.spec, sweep.store)) if "classes: " in note]
    assert note.endswith("; segmenters know abnormal pixels and others, and no classes")


@pytest.mark.parametrize(("name", "kind"), REFUSED)
def test_a_method_of_two_classes_is_dropped_with_the_reason(
    sweeps: Mapping[str, Sweep], name: str, kind: str
) -> None:
    """The remedy that is named, staging labels alone, plans it."""
    sweep = sweeps[name]
    assert (name, kind) not in sweep.trials
    [reason] = [
        reason
        for cell, reason in plan_on(sweep.spec, sweep.store).skipped
        if (cell.method.name, cell.specificity.kind) == (name, kind)
    ]
    assert reason == (
        f"{name} {methods.METHODS[name].two_classes}, and the dataset has 4 classes; stage it "
        "without --set classes=all, or use another method"
    )


def test_without_classes_all_methods_are_planned(
    sweeps: Mapping[str, Sweep], tmp_path: Path
) -> None:
    """The remedy that the plan names: the same images with labels alone."""
    sweep = sweeps["erm"]
    source = ClassedSource({"train": TRAIN, "val": VAL, "test": TEST}, classes=())
    store = type(sweep.store)(tmp_path / "store")
    stage(store, source, "classed", in_process=True)
    planned = {
        (t.cell.method.name, t.cell.specificity.kind) for t in plan_on(sweep.spec, store).trials
    }
    assert set(REFUSED) <= planned


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_has_a_logit_per_class(name: str) -> None:
    """Two by default."""
    options = CLASSIFIERS[name](**MODEL_VALUES[name])
    x = torch.randn(2, 1, 32, 64, generator=torch.Generator().manual_seed(0))
    shape = (32, 64, 1)
    with torch.no_grad():
        assert build(name, options, shape, 0, no_weights).eval()(x).shape == (2, 2)
        assert build(name, options, shape, 0, no_weights, 5).eval()(x).shape == (2, 5)
