"""Seg-SPL: the similarity of positively labelled pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_data import fit_config, fitted, keeping, no_weights, numbers, squares, values

from spurious.config.methods import Erm, Spl
from spurious.config.models import SmallUnet
from spurious.config.options import Budget, FitConfig, WeakLabels
from spurious.data.batches import Batch
from spurious.data.training_set import TrainingSet
from spurious.methods.spl import PixelSimilarity, positive_pixels, similarity_loss
from spurious.training.loop import Hooks
from spurious.training.model import Embedded, Model
from spurious.training.models import build
from spurious.training.objective import Forward
from spurious.training.similarity import unit
from spurious.training.supervision import supervision_for

CPU = torch.device("cpu")
THREE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def with_spl(config: FitConfig, **options: Any) -> FitConfig:
    """A configuration with this method."""
    return replace(config, method_name="spl", method=Spl(**options))


def naive(vectors: NDArray[np.float64], norm: str) -> float:
    """The loss by a double loop over pairs."""
    n = len(vectors)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                a, b = vectors[i], vectors[j]
                total += a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(-total / (n * (n - 1) if norm == "pairs" else n))


@pytest.mark.parametrize(("norm", "expected"), [("pairs", -0.471405), ("paper", -0.942809)])
def test_three_vectors_by_hand(norm: Literal["pairs", "paper"], expected: float) -> None:
    """A right angle and two of 45 degrees: the sum over ordered pairs is 2.828427."""
    assert similarity_loss(THREE, norm).item() == pytest.approx(expected, abs=1e-6)


def test_identical_vectors_are_as_similar_as_can_be() -> None:
    """The mean over pairs is bounded by -1; fewer than two vectors have no pair."""
    same = torch.tensor([[3.0, 4.0]]).expand(5, 2)
    assert similarity_loss(same, "pairs").item() == pytest.approx(-1.0, abs=1e-6)
    assert similarity_loss(same, "paper").item() == pytest.approx(-4.0, abs=1e-6)
    for count in (0, 1):
        found = similarity_loss(same[:count], "pairs")
        assert (found.item(), found.dtype) == (0.0, torch.float32)


@settings(max_examples=30)
@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3), st.sampled_from(["pairs", "paper"]))
def test_lengths_do_not_matter(scales: list[float], norm: Any) -> None:
    """Each vector may be of any length."""
    scaled = THREE * torch.tensor(scales)[:, None]
    found, expected = (similarity_loss(x, norm).item() for x in (scaled, THREE))
    assert found == pytest.approx(expected, abs=1e-5)


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(1, 17), st.integers(0, 99))
def test_the_sum_of_unit_vectors_gives_all_pairs(count: int, width: int, seed: int) -> None:
    """The linear form is the double loop, with both norms."""
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    for norm in ("pairs", "paper"):
        found = similarity_loss(torch.from_numpy(vectors), norm).item()  # type: ignore[arg-type]
        assert found == pytest.approx(naive(vectors, norm), abs=1e-5)


def test_a_vector_without_direction_is_left_alone() -> None:
    """Embeddings after a ReLU may be all zero: they count as a right angle, without gradient."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = similarity_loss(vectors, "pairs")
    loss.backward()
    assert loss.item() == pytest.approx(-2 / 6)
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert vectors.grad[1].tolist() == [0.0, 0.0]
    assert unit(vectors)[1].tolist() == [0.0, 0.0]


def test_bfloat16_embeddings_are_compared_in_float32() -> None:
    """Sums of hundreds of vectors in half precision would be off by whole units."""
    vectors = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)).bfloat16() + 3
    found = similarity_loss(vectors, "paper")
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(naive(vectors.double().numpy(), "paper"), rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (4, 6), (2, 3), (3, 5)])
def test_targets_are_max_pooled_to_the_embedding(height: int, width: int) -> None:
    """A cell is positive where any of the pixels that it stands for is; none is lost."""
    targets = torch.zeros(3, 8, 12, dtype=torch.int64)
    targets[0, 7, 11] = targets[2, 0, 0] = targets[2, 1, 1] = targets[2, 3, 5] = 1
    expected = np.zeros((3, height, width), dtype=bool)
    for image, row, column in targets.nonzero().tolist():
        for i in range(height):
            for j in range(width):
                rows = i * 8 // height, -(-(i + 1) * 8 // height)
                columns = j * 12 // width, -(-(j + 1) * 12 // width)
                inside = rows[0] <= row < rows[1] and columns[0] <= column < columns[1]
                expected[image, i, j] |= inside
    found = positive_pixels(targets, height, width)
    assert found.tolist() == np.flatnonzero(expected).tolist()


def batch_of(kind: str, count: int = 8) -> tuple[Model, Batch]:
    """A small segmenter and a batch of squares with their targets."""
    dataset, config = squares(), fit_config(kind)
    images = TrainingSet(dataset, dataset.rows("train"), config.specificity, config.train, 0)
    (batch,) = images.batches([np.arange(count)], epoch=1)
    return build("small-unet", SmallUnet(channels=4, levels=1), (16, 16, 1), 0, no_weights), batch


def objective(seed: int = 0, **options: Any) -> PixelSimilarity:
    """The objective of masks."""
    config = fit_config("mask")
    return PixelSimilarity(
        supervision_for(config.specificity, config.readout), Spl(**options), seed
    )


def test_the_loss_is_cross_entropy_plus_similarity() -> None:
    """Against numpy on the same network: pixels of all images, positive ones only."""
    model, batch = batch_of("mask")
    with torch.no_grad():
        found = objective(weight=0.3).loss(Forward(model, CPU, False), batch)
        logits, _, pixels, _ = model.embedded(batch.x)
    assert pixels is not None
    values_, targets = logits.double().numpy(), batch.targets.numpy()
    log_sum = np.log(np.exp(values_).sum(axis=1))
    chosen = np.take_along_axis(values_, targets[:, None], axis=1)[:, 0]
    positive = pixels.double().numpy().transpose(0, 2, 3, 1)[targets == 1]
    positive = positive[np.linalg.norm(positive, axis=1) > 0]
    zero = int((targets == 1).sum()) - len(positive)
    pairs = (len(positive) + zero) * (len(positive) + zero - 1)
    similarity = naive(positive, "pairs") * len(positive) * (len(positive) - 1) / pairs
    assert found.item() == pytest.approx((log_sum - chosen).mean() + 0.3 * similarity, rel=1e-5)


def test_at_most_so_many_pixels_are_drawn() -> None:
    """Positive ones, without replacement, by (seed, epoch, step); all where they are few."""
    model, batch = batch_of("mask")
    pixels = torch.arange(8 * 16 * 16.0).reshape(8, 1, 16, 16)
    every = set(positive_pixels(batch.targets, 16, 16).tolist())

    def drawn(seed: int, epoch: int, step: int, most: int = 20) -> list[float]:
        own = objective(seed, pixels=most)
        own.begin_epoch(epoch)
        with torch.no_grad():
            for _ in range(step):
                own.loss(Forward(model, CPU, False), batch)
        return own._drawn(pixels, batch.targets)[:, 0].tolist()

    found = drawn(0, 1, 0)
    assert len(set(found)) == 20
    assert set(found) < every
    assert found == drawn(0, 1, 0)
    assert len({tuple(drawn(*at)) for at in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1))}) == 4
    assert set(drawn(0, 1, 0, most=1000)) == every


def test_no_positive_pixel_no_similarity() -> None:
    """A batch of empty masks has cross-entropy alone, whatever the weight."""
    model, batch = batch_of("mask")
    placed = batch.to(CPU, torch.preserve_format)
    batch = replace(placed, targets=torch.zeros_like(placed.targets))
    with torch.no_grad():
        heavy, none = (
            objective(weight=weight).loss(Forward(model, CPU, False), batch).item()
            for weight in (100.0, 0.0)
        )
    assert heavy == none


class Coarse(Model):
    """A segmenter whose pixel embeddings have a quarter of the image's resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(1, 3, 4, stride=4)
        self.head = torch.nn.Conv2d(3, 2, 1)

    def embedded(self, x: torch.Tensor) -> Embedded:
        pixels = self.body(x)
        logits = torch.nn.functional.interpolate(self.head(pixels), scale_factor=4.0)
        return Embedded(logits, pixels, pixels)


def test_coarse_embeddings_are_compared_where_a_target_is() -> None:
    """The loss and its gradient are those of the cells that hold a positive pixel."""
    _, batch = batch_of("mask")
    model = Coarse()
    loss = objective(weight=1.0).loss(Forward(model, CPU, False), batch)
    loss.backward()
    with torch.no_grad():
        pixels, logits = model.body(batch.x), model(batch.x)
    cells = batch.targets.reshape(8, 4, 4, 4, 4).amax(dim=(2, 4)).numpy()
    vectors = pixels.double().numpy().transpose(0, 2, 3, 1)[cells == 1]
    supervised = torch.nn.functional.cross_entropy(logits, batch.targets).item()
    assert 2 <= len(vectors) < 8 * 16
    assert loss.item() == pytest.approx(supervised + naive(vectors, "pairs"), rel=1e-5)
    assert model.body.weight.grad is not None
    assert model.body.weight.grad.isfinite().all()


def test_without_weight_it_is_erm() -> None:
    """The same bytes."""
    dataset, config = squares(), fit_config("mask", epochs=2)
    erm = fitted(dataset, replace(config, method=Erm()))
    assert numbers(fitted(dataset, with_spl(config, weight=0.0))) == numbers(erm)
    assert numbers(fitted(dataset, with_spl(config, weight=0.1))) != numbers(erm)


def test_it_resumes_bit_for_bit_beside_labels_of_the_rest() -> None:
    """Pixels are drawn as if never stopped."""
    dataset = squares()
    config = with_spl(fit_config("mask", epochs=3, augment="flip"), weight=1.0, pixels=9)
    config = replace(config, budget=Budget(10), rest=WeakLabels())
    saved: list[bytes] = []
    undisturbed = fitted(dataset, config, Hooks(save=keeping(saved)))
    assert numbers(fitted(dataset, config, Hooks(resume=saved[0]))) == numbers(undisturbed)


def test_it_learns_in_bfloat16() -> None:
    """Finite losses, and a score that finds the abnormality."""
    config = fit_config("r", r=4, epochs=8, precision="bfloat16", learning_rate=2e-2)
    outcome = fitted(squares(n_train=40, abnormality_mean=4.0), with_spl(config, pixels=64))
    assert np.isfinite(values(outcome, "train", "loss")).all()
    assert values(outcome, "val", "auroc")[-1] > 0.9


def test_positive_pixels_are_pulled_together() -> None:
    """After training, their embeddings are more alike than those of ERM."""
    dataset = squares(n_train=40)
    config = fit_config("mask", epochs=8, learning_rate=2e-2)
    images = TrainingSet(dataset, dataset.rows("train"), config.specificity, config.train, 0)
    (batch,) = images.clean(40)
    found = []
    for weight in (0.0, 1.0):
        outcome = fitted(dataset, with_spl(config, weight=weight))
        model = build("small-unet", config.model, (16, 16, 1), 0, no_weights)
        model.load_state_dict(outcome.kept_state)
        with torch.no_grad():
            pixels = model.eval().embedded(batch.x).pixels
        assert pixels is not None
        positive = pixels.permute(0, 2, 3, 1)[batch.targets == 1]
        found.append(-similarity_loss(positive, "pairs").item())
    assert found[1] > found[0] + 0.05


def test_the_diagonal_is_no_pair() -> None:
    """All nine products sum to 5.828427, three of them of a vector with itself: 2.828427 count."""
    every = unit(THREE).sum(dim=0).square().sum().item()
    assert every == pytest.approx(5.828427, abs=2e-6)
    assert -every / 3 == pytest.approx(-1.942809, abs=1e-6)
    assert -3 * similarity_loss(THREE, "paper").item() == pytest.approx(2.828427, abs=2e-6)
    assert -3 * similarity_loss(THREE, "paper").item() == pytest.approx(every - 3, abs=2e-6)
