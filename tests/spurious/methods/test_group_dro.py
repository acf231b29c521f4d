"""Group DRO: how the weights of groups move, the loss they make, and fits by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_data import fit_config, fitted, keeping, no_weights, squares, values

from spurious.config.methods import GroupDro, GroupWeights
from spurious.config.options import Budget, FitConfig, WeakLabels
from spurious.data.dataset import Dataset
from spurious.data.randomness import generator
from spurious.data.sampling import in_batches
from spurious.errors import DataError
from spurious.fit import group_rows
from spurious.methods.group_weights import Exponentiated, GroupObjective
from spurious.training import checkpoint
from spurious.training.loop import Fit, Hooks
from spurious.training.models import build
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")
CPU = torch.device("cpu")


def objective(
    sizes: Sequence[int], pairs: Sequence[tuple[int, int]] | None = None, **options: Any
) -> GroupObjective:
    """Group DRO of training images that are sorted by their group."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    given_pairs = None if pairs is None else np.array(pairs)
    return GroupObjective(Classification(), groups, GroupWeights(**options), CPU, given_pairs)


def step(of: GroupObjective, losses: Sequence[float], groups: Sequence[int]) -> float:
    """One batch of images with these losses and groups; the loss that is minimised."""
    positions = np.searchsorted(of.groups.numpy(), groups)  # the first image of each group
    given_losses = torch.tensor(losses, dtype=torch.float32)
    return of.weighted(given_losses, torch.from_numpy(positions)).item()


def four_groups() -> Dataset:
    """Squares whose block is on 4 of 5 positive and 1 of 5 negative images."""
    return squares(spurious_given_positive=0.8, spurious_given_negative=0.2)


def dro(kind: str, method: dict[str, Any], **train: Any) -> FitConfig:
    """Group DRO on the small images."""
    config = fit_config(kind, **train)
    return replace(config, method_name="group-dro", method=GroupDro(**method))


@pytest.mark.parametrize(
    ("options", "sizes", "losses", "q", "loss"),
    [
        ({"step_size": 0.1}, [1, 1], [1, 2], [0.475021, 0.524979], 1.524979),
        ({"step_size": 0.01}, [1, 1], [1, 2], [0.497500, 0.502500], 1.502500),
        ({"step_size": 0.1}, [1, 1, 1], [1, 2], [0.332225, 0.367165, 0.300610], 1.066556),
        ({"step_size": 0.1, "adjustment": 2}, [100, 25], [1, 2], [0.470036, 0.529964], 1.529964),
    ],
)
def test_one_step_of_the_exponentiated_rule(
    options: dict[str, Any], sizes: list[int], losses: list[int], q: list[float], loss: float
) -> None:
    """q moves first and the loss is formed with it; a third group of the batch may be absent."""
    of = objective(sizes, **options)
    assert step(of, losses, range(len(losses))) == pytest.approx(loss, abs=5e-7)
    assert of.rule.q.tolist() == pytest.approx(q, abs=5e-7)


def test_the_loss_leaves_out_the_adjustments() -> None:
    """They move q alone: C = 2 and sizes 100 and 25 give 1.529964, which is not 1.835957."""
    of = objective([100, 25], step_size=0.1, adjustment=2.0)
    assert isinstance(of.rule, Exponentiated)
    assert of.rule.adjustments.tolist() == pytest.approx([0.2, 0.4])
    loss = step(of, [1.0, 2.0], [0, 1])
    assert loss == pytest.approx(1.529964, abs=5e-7)
    assert loss + (of.rule.q @ of.rule.adjustments).item() == pytest.approx(1.835957, abs=5e-7)


def test_an_absent_group_counts_zero() -> None:
    """Its weight falls relatively, and with C above 0 it gains its own C / sqrt n."""
    of = objective([10, 4, 25], step_size=0.1)
    step(of, [2.0], [1])
    assert of.rule.q.tolist() == pytest.approx(np.exp([0, 0.2, 0]) / np.exp([0, 0.2, 0]).sum())
    of = objective([10, 4, 25], step_size=0.1, adjustment=3.0)
    step(of, [2.0], [1])
    gained = np.exp(0.1 * np.array([3 / np.sqrt(10), 2 + 1.5, 0.6]))
    assert of.rule.q.tolist() == pytest.approx(gained / gained.sum())


def test_losses_are_means_over_a_group_s_images() -> None:
    """However many images of a group are in the batch, and wherever they stand in it."""
    of = objective([3, 2], step_size=0.5)
    losses = torch.tensor([4.0, 1.0, 6.0, 2.0, 3.0])
    found = of.weighted(losses, torch.tensor([3, 0, 4, 1, 2]))
    raised = np.exp([0.5 * 2.0, 0.5 * 5.0])
    q = raised / raised.sum()
    assert of.rule.q.tolist() == pytest.approx(q)
    assert found.item() == pytest.approx(q @ [2.0, 5.0])
    assert found.dtype == torch.float32


def test_normalised_losses_move_q_by_their_shares() -> None:
    """L = 1 and 3 count as 1/4 and 3/4; losses that are all 0 move nothing."""
    of = objective([1, 1], step_size=1.0, normalise_loss=True)
    step(of, [0.0, 0.0], [0, 1])
    assert of.rule.q.tolist() == [0.5, 0.5]
    loss = step(of, [1.0, 3.0], [0, 1])
    raised = np.exp([0.25, 0.75])
    assert of.rule.q.tolist() == pytest.approx(raised / raised.sum())
    assert loss == pytest.approx(raised @ [1.0, 3.0] / raised.sum())


def numpy_steps(
    batches: list[tuple[NDArray[np.float32], NDArray[np.int64]]],
    groups: NDArray[np.int64],
    options: GroupWeights,
) -> tuple[NDArray[np.float64], list[float]]:
    """The published rule, term by term: the last q, and the loss of each step."""
    sizes = np.bincount(groups)
    q = np.ones(len(sizes)) / len(sizes)
    found = []
    for losses, positions in batches:
        means = np.zeros(len(sizes))
        for group in range(len(sizes)):
            own = losses[groups[positions] == group].astype(np.float64)
            if len(own):
                means[group] = own.sum() / len(own)
        adjusted = means.copy()
        if options.adjustment > 0:
            adjusted += options.adjustment / np.sqrt(sizes)
        if options.normalise_loss:
            adjusted /= adjusted.sum()
        q = q * np.exp(options.step_size * adjusted)
        q /= q.sum()
        found.append(float(q @ means))
    return q, found


@settings(max_examples=15)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.floats(1e-4, 0.2),
    st.just(0.0) | st.floats(1e-3, 5.0),
    st.booleans(),
)
def test_hundreds_of_steps_agree_with_plain_numpy(
    seed: int, sizes: list[int], step_size: float, adjustment: float, normalise: bool
) -> None:
    """For random losses, groups, C and eta: q and every loss to 1e-6, q on the simplex."""
    options = GroupWeights(step_size=step_size, adjustment=adjustment, normalise_loss=normalise)
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    batches = []
    for _ in range(300):
        positions = rng.integers(0, len(groups), size=rng.integers(1, 12))
        losses = rng.exponential(rng.choice([0.1, 1.0]), size=len(positions)) + 1e-3
        batches.append((losses.astype(np.float32), positions))
    of = GroupObjective(Classification(), groups, options, CPU)
    found = []
    weights = []
    for losses, positions in batches:
        found.append(of.weighted(torch.from_numpy(losses), torch.from_numpy(positions)).item())
        weights.append(of.rule.q.numpy())
    assert np.min(weights) >= 0.0
    assert np.abs(np.sum(weights, axis=1) - 1.0).max() < 1e-9
    q, expected = numpy_steps(batches, groups, options)
    assert of.rule.q.tolist() == pytest.approx(q.tolist(), abs=1e-6)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_extreme_losses_and_step_sizes_stay_on_the_simplex() -> None:
    """The largest options overflow nothing, and a group of weight 0 comes back."""
    of = objective([1000, 1, 50], step_size=100.0, adjustment=1000.0)
    for worst in (0, 1, 2, 0):
        losses = [1e4 if group == worst else 0.0 for group in range(3)]
        for _ in range(100):
            loss = step(of, losses, [0, 1, 2])
            assert np.isfinite(loss)
            assert of.rule.q.sum().item() == pytest.approx(1.0, abs=1e-9)
    of = objective([1, 1], step_size=100.0)
    for _ in range(50):
        step(of, [1e3, 0.0], [0, 1])
    assert of.rule.q.tolist() == [1.0, 0.0]
    for _ in range(51):
        step(of, [0.0, 1e3], [0, 1])
    assert of.rule.q.tolist() == [0.0, 1.0]


def test_the_gradient_takes_q_as_given() -> None:
    """Each image's loss weighs q of its group over the group's images in the batch."""
    of = objective([2, 3], step_size=0.7, adjustment=1.0)
    losses = torch.tensor([1.0, 2.0, 0.5, 3.0], requires_grad=True)
    of.weighted(losses, torch.tensor([0, 2, 3, 4])).backward()
    assert losses.grad is not None
    a, b = of.rule.q.tolist()
    assert losses.grad.tolist() == pytest.approx([a, b / 3, b / 3, b / 3])
    assert not of.rule.memory.requires_grad


@pytest.mark.parametrize(
    ("share", "q", "loss"),
    [(0.2, [0, 1, 0], 3.0), (0.4, [0, 0.75, 0.25], 2.75), (1.0, [0.5, 0.3, 0.2], 1.8)],
)
def test_the_greedy_rule_fills_its_share_from_the_worst(
    share: float, q: list[float], loss: float
) -> None:
    """Losses 1, 3, 2 of groups with .5, .3, .2 of the images."""
    of = objective([5, 3, 2], rule="greedy", greedy_share=share)
    assert step(of, [1.0, 3.0, 2.0], [0, 1, 2]) == pytest.approx(loss)
    assert of.rule.q.tolist() == pytest.approx(q)


def test_the_greedy_rule_ranks_by_moving_averages() -> None:
    """The first loss begins an average, absent groups keep theirs, and the floor is mixed in."""
    of = objective([5, 5], rule="greedy", greedy_share=0.5, greedy_memory=0.25, greedy_floor=0.4)
    step(of, [4.0], [1])
    assert of.rule.q.tolist() == pytest.approx([0.2, 0.8])
    step(of, [8.0, 2.0], [0, 1])  # averages 8 and .75 * 4 + .25 * 2
    assert of.rule.memory.tolist() == pytest.approx([8.0, 3.5])
    loss = step(of, [0.0], [0])  # still the worst on average
    assert of.rule.memory.tolist() == pytest.approx([6.0, 3.5])
    assert of.rule.q.tolist() == pytest.approx([0.8, 0.2])
    assert loss == 0.0


def numpy_greedy(
    averages: list[float], sizes: list[int], share: float, floor: float, adjustment: float
) -> list[float]:
    """Go through the groups, the worst first, until the share is used up."""
    reference = [a + adjustment / np.sqrt(n) for a, n in zip(averages, sizes, strict=True)]
    left, q = share, [0.0] * len(sizes)
    for group in sorted(range(len(sizes)), key=lambda g: -reference[g]):
        q[group] = min(left, sizes[group] / sum(sizes)) / share
        left -= q[group] * share
    return [floor * n / sum(sizes) + (1 - floor) * w for n, w in zip(sizes, q, strict=True)]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), min_size=1, max_size=7),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 1.0, 6.0]),
)
def test_greedy_weights_agree_with_filling_by_hand(
    drawn: list[tuple[int, int]], share: float, floor: float, adjustment: float
) -> None:
    """For any sizes and losses, ties too; C moves small groups up; q is on the simplex."""
    sizes, losses = [n for n, _ in drawn], [float(loss) for _, loss in drawn]
    of = objective(
        sizes, rule="greedy", greedy_share=share, greedy_floor=floor, adjustment=adjustment
    )
    loss = step(of, losses, range(len(sizes)))
    expected = numpy_greedy(losses, sizes, share, floor, adjustment)
    assert of.rule.q.tolist() == pytest.approx(expected, abs=1e-9)
    assert of.rule.q.sum().item() == pytest.approx(1.0, abs=1e-9)
    assert loss == pytest.approx(np.dot(expected, losses), abs=1e-6)


PAIRS = [(0, 2), (0, 3), (1, 2), (1, 3)]


def test_pairs_of_clusters_are_groups() -> None:
    """A pair's loss is the mean over its images, and its size in C / sqrt n is of both clusters."""
    of = objective([9, 3, 7, 1], PAIRS, step_size=0.3, adjustment=2.0)
    positions = torch.tensor([0, 1, 12, 13, 14])  # two images of cluster 0, three of cluster 2
    loss = of.weighted(torch.tensor([1.0, 2.0, 6.0, 7.0, 8.0]), positions)
    means = np.array([(3 + 21) / 5, 1.5, 7.0, 0.0])
    raised = np.exp(0.3 * (means + 2.0 / np.sqrt([16, 10, 10, 4])))
    q = raised / raised.sum()
    assert of.rule.q.tolist() == pytest.approx(q)
    assert loss.item() == pytest.approx(q @ means)


def test_greedy_pairs_share_the_images() -> None:
    """Fractions of pairs, which overlap, are of the sum of their sizes."""
    of = objective([2, 2, 4, 4], PAIRS, rule="greedy", greedy_share=0.25)
    loss = step(of, [0.0, 1.0, 3.0, 2.0], [0, 1, 2, 3])
    assert of.rule.q.tolist() == pytest.approx([0, 0, 1, 0])
    assert loss == pytest.approx(2.0)


def test_groups_without_an_image_are_refused() -> None:
    """Their size would be divided by."""
    with pytest.raises(DataError, match=r"1 of 3 groups have no training image; number the"):
        objective([4, 0, 2])


def by_hand(dataset: Dataset, config: FitConfig, options: GroupDro) -> tuple[list[float], Any]:
    """Group DRO in a plain torch loop: each epoch's mean loss, and the last q."""
    rows = dataset.rows("train")
    groups = group_rows(dataset, rows, "group-dro", None)
    images = torch.from_numpy(dataset.images[rows].transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(dataset.labels[rows])
    model = build(config.model_name, config.model, (16, 16, 1), config.seed, no_weights)
    model.train()
    train = config.train
    sgd = torch.optim.SGD(model.parameters(), lr=train.learning_rate, momentum=train.momentum)
    sizes = np.bincount(groups)
    q, found = np.ones(len(sizes)) / len(sizes), []
    for epoch in range(1, train.epochs + 1):
        rng = generator("order", config.seed, epoch)
        weights = 1 / sizes[groups]
        order = (
            rng.permutation(len(rows))
            if options.draw == "natural"
            else rng.choice(len(rows), len(rows), p=weights / weights.sum())
        )
        total = 0.0
        for positions in in_batches(order, train.batch_size):
            logits = model(images[positions])
            losses = torch.nn.functional.cross_entropy(logits, labels[positions], reduction="none")
            present = [g for g in range(len(sizes)) if (groups[positions] == g).any()]
            means = {g: losses[groups[positions] == g].mean() for g in present}
            raised = options.adjustment / np.sqrt(sizes)
            for g, mean in means.items():
                raised[g] += mean.item()
            q = q * np.exp(options.step_size * raised)
            q /= q.sum()
            loss = torch.stack([q[g] * mean for g, mean in means.items()]).sum()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            total += loss.item() * len(positions)
        found.append(total / len(rows))
    return found, q


@pytest.mark.parametrize("draw", ["natural", "groups"])
def test_a_fit_agrees_with_a_plain_loop(draw: Any) -> None:
    """The losses of all epochs and q, which goes on from one epoch to the next."""
    dataset = four_groups()
    method = {"draw": draw, "step_size": 0.2, "adjustment": 1.0}
    config = dro("label", method, epochs=4, optimizer="sgd")
    saved: list[bytes] = []
    outcome = fitted(dataset, config, Hooks(save=keeping(saved)))
    losses, _ = by_hand(dataset, config, GroupDro(**method))
    assert values(outcome, "train", "loss").tolist() == pytest.approx(losses, rel=1e-4)
    shorter = replace(config, train=replace(config.train, epochs=3))
    _, q = by_hand(dataset, shorter, GroupDro(**method))
    memory = checkpoint.unpack(saved[-1])["objective"]["groups"]
    assert memory.exp().tolist() == pytest.approx(q.tolist(), rel=1e-4)
    assert np.ptp(q) > 0.05
    assert outcome.images_trained == 4 * 21


def numbers(outcome: Fit) -> tuple[str, bytes, bytes]:
    """What a fit decides, bit for bit; NaN equals NaN."""
    state = b"".join(tensor.numpy().tobytes() for tensor in outcome.kept_state.values())
    return repr(outcome.rows), state, outcome.last_scores["test"].tobytes()


@pytest.mark.parametrize(
    ("method", "mixed"),
    [
        ({"rule": "greedy", "greedy_share": 0.3, "draw": "natural"}, False),
        ({"step_size": 0.5}, True),
    ],
)
def test_continuing_equals_never_stopping(method: dict[str, Any], mixed: bool) -> None:
    """q travels in the checkpoint, also where the rest of the images has labels."""
    dataset, config = four_groups(), dro("mask" if mixed else "label", method, epochs=4)
    if mixed:
        config = replace(config, budget=Budget(12), rest=WeakLabels())
    saved: list[bytes] = []
    undisturbed = fitted(dataset, config, Hooks(save=keeping(saved)))
    for stopped_after in (1, 3):
        later: list[bytes] = []
        hooks = Hooks(resume=saved[stopped_after - 1], save=keeping(later))
        assert numbers(fitted(dataset, config, hooks)) == numbers(undisturbed)
        for ours, theirs in zip(later, saved[stopped_after:], strict=True):
            a, b = (checkpoint.unpack(data)["objective"]["groups"] for data in (ours, theirs))
            assert torch.equal(a, b)
    spoilt = checkpoint.unpack(saved[0])
    spoilt["objective"]["groups"] = spoilt["objective"]["groups"].flip(0)
    other = fitted(dataset, config, Hooks(resume=checkpoint.pack(spoilt)))
    assert numbers(other) != numbers(undisturbed)


def test_a_checkpoint_of_other_groups_is_refused() -> None:
    """Four groups do not continue as two."""
    config = dro("label", {}, epochs=2)
    saved: list[bytes] = []
    fitted(four_groups(), config, Hooks(save=keeping(saved)))
    with pytest.raises(DataError, match="4 groups instead of 2"):
        fitted(squares(), config, Hooks(resume=saved[0]))
