"""`negatives: lesion`: masks of negative images as a class of pixels of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_data import (
    fit_config,
    fitted,
    grey_squares,
    no_weights,
    read_only,
    squares,
    values,
    with_arrays,
)

from spurious.config.methods import Cvar, Spl, Ssl
from spurious.config.models import Aggregation, SmallUnet
from spurious.config.options import Specificity, WeakLabels
from spurious.data.dataset import Dataset
from spurious.data.inputs import PackedTargets, pixel_classes
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.training.evaluate import Evaluator
from spurious.training.models import build
from spurious.training.supervision import Segmentation, aggregate

NAMES = ["mean_prob", "mean_logit", "max_prob", "area_fraction", "top_fraction"]


def drawn(dataset: Dataset) -> Dataset:
    """The dataset with a 3 x 3 region, the place of which is told by the row, on its negatives."""
    masks, abnormalities = dataset.masks[:], dataset.abnormalities.copy()
    for row in np.flatnonzero(dataset.labels == 0):
        at = row % 12
        masks[row, at : at + 3, 2:5] = True
        abnormalities[row] = 1
    return read_only(with_arrays(dataset, masks=masks, abnormalities=abnormalities))


@pytest.fixture(scope="module")
def plain() -> Dataset:
    """Squares whose negative images have no mask."""
    return squares()


@pytest.fixture(scope="module")
def lesions(plain: Dataset) -> Dataset:
    """The same with a mask on every image."""
    return drawn(plain)


def lesion_config(kind: str = "mask", **train: Any) -> Any:
    """A configuration of three classes."""
    return replace(fit_config(kind, **train), negatives="lesion")


def test_targets_are_label_plus_one_times_mask(lesions: Dataset) -> None:
    """2 on positive images, 1 on negative ones; by default 1 and nothing."""
    rows = np.arange(len(lesions.labels))
    for negatives, of in (("lesion", (1, 2)), ("background", (0, 1))):
        classes = pixel_classes(lesions.labels, negatives)  # type: ignore[arg-type]
        targets = PackedTargets(lesions.masks, rows, Specificity("mask"), classes)
        found = targets.pixels(rows)
        assert found.dtype == np.int64
        expected = np.array(of)[lesions.labels][:, None, None] * lesions.masks[:]
        assert (found == expected).all()


def test_boxes_of_negative_images_are_filled(lesions: Dataset) -> None:
    """Every specificity draws on both kinds of images."""
    rows = lesions.rows("train")
    classes = pixel_classes(lesions.labels[rows], "lesion")
    for specificity in (Specificity("box"), Specificity("r", r=4)):
        pixels = PackedTargets(lesions.masks, rows, specificity, classes).pixels(
            np.arange(len(rows))
        )
        assert [set(np.unique(target)) for target in pixels] == [{0, int(c)} for c in classes]


@pytest.mark.parametrize("augment", ["none", "flip", "paper"])
def test_augmented_targets_keep_their_class(augment: Any) -> None:
    """Warping moves pixels, and a negative image's are never those of a positive one."""
    dataset = drawn(grey_squares())
    config = lesion_config(augment=augment)
    rows = dataset.rows("train")
    images = TrainingSet(
        dataset, rows, config.specificity, config.train, 0, negatives=config.negatives
    )
    [batch] = images.batches([np.arange(len(rows))], 1)
    assert batch.targets.dtype == torch.int64
    seen = [set(target.unique().tolist()) for target in batch.targets]
    assert all(
        found <= {0, label + 1} for found, label in zip(seen, dataset.labels[rows], strict=True)
    )
    assert {value for found in seen for value in found} == {0, 1, 2}


def test_without_the_option_masks_of_negatives_change_nothing(
    plain: Dataset, lesions: Dataset
) -> None:
    """Weights, scores and metrics are those of a dataset that never had them, bit for bit."""
    config = fit_config("mask", epochs=2)
    first, second = fitted(plain, config), fitted(lesions, config)
    assert str(first.rows) == str(second.rows)
    for name, tensor in first.kept_state.items():
        assert torch.equal(tensor, second.kept_state[name])
    one, other = (count_annotations(image_facts(data), config) for data in (plain, lesions))
    assert one == other


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_of_the_last_of_three_classes(name: Any) -> None:
    """By softmax in double precision; `mean_logit` takes the mean of the logits first."""
    logits = torch.randn(3, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    found = aggregate(logits, Aggregation(name=name))
    of = logits.double()
    p = of.softmax(dim=1)[:, 2].flatten(1)
    expected = {
        "mean_prob": p.mean(1),
        "mean_logit": of.mean(dim=(2, 3)).softmax(1)[:, 2],
        "max_prob": p.amax(1),
        "area_fraction": (p >= 0.5).double().mean(1),
        "top_fraction": p.topk(2, dim=1).values.mean(1),
    }[name]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_is_out_of_the_question_leaves_two(name: Any) -> None:
    """With no chance of a negative image's region the score is that of two classes."""
    logits = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(1)) * 3
    never = torch.full((3, 1, 4, 5), -1e4)
    three = torch.cat([logits[:, :1], never, logits[:, 1:]], dim=1)
    readout = Aggregation(name=name)
    torch.testing.assert_close(aggregate(three, readout), aggregate(logits, readout))


def test_losses_of_three_classes() -> None:
    """ln 3 where nothing is known."""
    targets = torch.tensor([[[0, 1], [2, 2]]])
    loss = Segmentation(Aggregation()).losses(torch.zeros(1, 3, 2, 2), targets)
    assert loss.tolist() == pytest.approx([np.log(3)])


class Fixed(torch.nn.Module):
    """Gives the same logits, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(x)]


def test_dice_tells_regions_from_background_only(lesions: Dataset) -> None:
    """A model that calls every pixel of every mask the wrong kind has a Dice of 1."""
    rows = lesions.rows("val")
    classes = torch.from_numpy((2 - lesions.labels[rows])[:, None, None] * lesions.masks[rows])
    logits = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float() * 9
    config = lesion_config()
    evaluator = Evaluator(
        lesions,
        config.specificity,
        Segmentation(Aggregation()),
        config.train,
        torch.device("cpu"),
        ("val",),
        negatives="lesion",
    )
    found = evaluator(Fixed(logits), 1).values()
    assert found["val.dice"] == 1.0
    assert found["val.auroc"] == 0.0  # calling malignant benign, and the other way round


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_a_model_of_three_classes_learns_both(kind: str) -> None:
    """It segments regions of both kinds, and its scores rank the images."""
    dataset = drawn(
        squares(abnormality_mean=6.0, abnormality_size=6, n_train=60, spurious_given_positive=0.0)
    )
    images, negative = dataset.images.copy(), dataset.labels == 0
    images[negative] -= 6.0 * dataset.masks[negative][..., None]
    dataset = read_only(replace(dataset, images=images))
    config = lesion_config(kind, epochs=25, learning_rate=0.03)
    found = fitted(dataset, replace(config, model=SmallUnet(channels=8, levels=1)))
    assert found.kept_state["head.weight"].shape[0] == 3
    assert values(found, "val", "dice")[-1] > 0.6
    assert values(found, "val", "auroc")[-1] > 0.9


def test_other_weights_do_not_depend_on_the_number_of_classes() -> None:
    """Body and seed are the same; only the last layer is wider."""
    options = SmallUnet(channels=4, levels=1)
    two, three = (
        build("small-unet", options, (16, 16, 1), 0, no_weights, classes).state_dict()
        for classes in (2, 3)
    )
    for name in two.keys() - {"head.weight", "head.bias"}:
        assert torch.equal(two[name], three[name])
    assert three["head.weight"].shape[0] == 3


def test_regions_on_negative_images_are_priced(lesions: Dataset) -> None:
    """Each costs as an abnormality; without the option negative images cost a label."""
    train, val = lesions.rows("train"), lesions.rows("val")
    both = count_annotations(image_facts(lesions), lesion_config())
    assert both.train_abnormalities == len(train) == 21
    assert (both.train_negatives, both.val_negatives) == (0, 0)
    assert both.val_abnormalities == len(val)
    one = count_annotations(image_facts(lesions), fit_config("mask"))
    assert one.train_abnormalities == int(lesions.labels[train].sum())
    assert one.train_negatives == int((lesions.labels[train] == 0).sum())


def test_other_methods_of_masks_train_on_three_classes(lesions: Dataset) -> None:
    """CVaR needs losses of images only."""
    config = replace(lesion_config(epochs=1), method_name="cvar", method=Cvar())
    assert fitted(lesions, config).kept_state["head.weight"].shape[0] == 3


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"method_name": "spl", "method": Spl()}, "spl knows two classes"),
        ({"method_name": "ssl", "method": Ssl(views="flip")}, "ssl knows two classes"),
        ({"rest": WeakLabels()}, "rest: label knows two classes"),
    ],
)
def test_what_knows_two_classes_is_refused(
    lesions: Dataset, changes: dict[str, Any], what: str
) -> None:
    """Also where no plan stood before it."""
    with pytest.raises(ConfigError, match=what):
        fitted(lesions, replace(lesion_config(), **changes))


def test_a_dataset_without_such_masks_is_refused(plain: Dataset) -> None:
    """Else the third class would never be seen."""
    with pytest.raises(ConfigError, match="needs masks of negative images"):
        fitted(plain, lesion_config())
