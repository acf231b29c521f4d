"""Clusters within classes: reductions, partitions and the silhouette."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from clouds import Ids, Values, blobs, same_partition, seen
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from spurious.config.methods import George
from spurious.errors import NumericalError
from spurious.methods.george.clusters import NOWHERE, Clusters, cluster
from spurious.methods.george.partitions import Partition, best_partition, score, silhouettes
from spurious.methods.george.reductions import reduce_dimensions, unit

pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")
FOUR = np.array([[0.0], [1.0], [10.0], [11.0]])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the method has it: threads that wait for each other take longer than these few points."""
    with threadpool_limits(1):
        yield


def by_definition(points: Values, labels: Ids) -> Values:
    """Rousseeuw's silhouettes, point by point."""
    found = np.zeros(len(points))
    for i, point in enumerate(points):
        distances = np.sqrt(((points - point) ** 2).sum(axis=1))
        own = labels == labels[i]
        if own.sum() == 1:
            continue
        a = distances[own].sum() / (own.sum() - 1)
        b = min(distances[labels == other].mean() for other in set(labels) - {labels[i]})
        found[i] = (b - a) / max(a, b)
    return found


def mean_of_clusters(points: Values, labels: Ids) -> float:
    """The mean of the clusters' mean silhouettes."""
    found = by_definition(points, labels)
    return float(np.mean([found[labels == c].mean() for c in sorted(set(labels))]))


def test_silhouettes_of_four_points() -> None:
    """Two pairs on a line."""
    found = silhouettes(FOUR, np.array([0, 0, 1, 1]))
    assert found == pytest.approx([0.904762, 0.894737, 0.894737, 0.904762], abs=1e-6)
    assert score(FOUR, np.array([0, 0, 1, 1])) == pytest.approx(0.899749, abs=1e-6)


def test_the_score_is_the_mean_over_clusters() -> None:
    """Not over points: the two singletons count as much as the pair."""
    labels = np.array([0, 1, 2, 2])
    found = silhouettes(FOUR, labels)
    assert found == pytest.approx([0.0, 0.0, 0.888889, 0.9], abs=1e-6)
    assert found.mean() == pytest.approx(0.447222, abs=1e-6)
    assert score(FOUR, labels) == pytest.approx(0.298148, abs=1e-6)


def test_silhouettes_without_a_neighbour_are_zero() -> None:
    """A single cluster, which has no score, and clusters of one point each."""
    assert silhouettes(FOUR, np.zeros(4, dtype=np.int64)).tolist() == [0.0] * 4
    assert math.isnan(score(FOUR, np.zeros(4, dtype=np.int64)))
    assert silhouettes(FOUR, np.arange(4)).tolist() == [0.0] * 4
    assert score(FOUR, np.arange(4)) == 0.0


@pytest.mark.parametrize("clusterer", ["gmm", "kmeans"])
def test_two_pairs_are_two_clusters(clusterer: Any) -> None:
    """Of 2 and 3 clusters of the four points the former has the better score."""
    options = George(clusterer=clusterer, max_clusters=3)
    found = best_partition(FOUR, options, 0)
    assert same_partition(found.labels, np.array([0, 0, 1, 1]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clusterer", ["gmm", "kmeans"])
def test_the_number_of_clusters_has_the_best_score(clusterer: Any, seed: int) -> None:
    """Chosen as by silhouettes from their definition, of the same library's own labels."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) + 2.0 * rng.integers(0, 3, size=(60, 1))
    tried = {}
    for k in range(2, 7):
        model: Any = KMeans(k, n_init=3, random_state=5)
        if clusterer == "gmm":
            model = GaussianMixture(k, covariance_type="full", n_init=3, random_state=5)
        tried[k] = model.fit(points).predict(points)
        expected = by_definition(points, tried[k])
        assert silhouettes(points, tried[k]) == pytest.approx(expected, abs=1e-6)
        assert score(points, tried[k]) == pytest.approx(
            mean_of_clusters(points, tried[k]), abs=1e-6
        )
    best = max(tried, key=lambda k: mean_of_clusters(points, tried[k]))
    found = best_partition(points, George(clusterer=clusterer, max_clusters=6), 5)
    assert len(found) == best
    assert found.labels.tolist() == tried[best].tolist()
    assert found(points).tolist() == tried[best].tolist()


def test_of_equal_scores_the_larger_number_wins() -> None:
    """Four points at the same distance from each other: every partition scores 0."""
    corners = np.eye(4)
    for k in (2, 3):
        labels = Partition(corners, k, "kmeans", 0).labels
        assert score(corners, labels) == mean_of_clusters(corners, labels) == 0.0
    assert len(best_partition(corners, George(clusterer="kmeans"), 0)) == 3


def test_one_cluster_is_never_searched_for() -> None:
    """A single cloud is cut in two at least; only points that are all the same are not."""
    cloud = np.random.default_rng(0).normal(size=(50, 2))
    assert len(best_partition(cloud, George(), 0)) >= 2
    for clusterer in ("gmm", "kmeans"):
        options = George(clusterer=clusterer)  # type: ignore[arg-type]
        assert len(best_partition(np.ones((9, 2)), options, 0)) == 1


@pytest.mark.parametrize("clusterer", ["gmm", "kmeans"])
def test_a_number_of_clusters_can_be_given(clusterer: Any) -> None:
    """One and more, but fewer than there are points."""
    points, of = blobs([10, 10, 10])
    for count in (1, 3):
        options = George(clusterer=clusterer, clusters=count)
        assert len(best_partition(points, options, 0)) == count
    assert same_partition(best_partition(points, options, 0).labels, of)
    many = George(clusterer=clusterer, clusters=50)
    assert len(best_partition(FOUR, many, 0)) == 3


def test_a_cluster_without_a_point_does_not_count() -> None:
    """Three places for five clusters: three ids without a gap, for further points too."""
    places = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 4, axis=0)
    for clusterer in ("gmm", "kmeans"):
        found = Partition(places, 5, clusterer, 0)
        assert sorted(set(found.labels)) == list(range(len(found)))
        further = np.random.default_rng(0).normal(scale=9.0, size=(200, 2))
        assert set(found(further)) <= set(found.labels)
    assert len(found) == 3
    assert found(places[:0]).shape == (0,)


def test_vectors_get_length_one() -> None:
    """[3, 4] becomes [.6, .8]; a vector of nothing stays, a tiny one is divided by 1e-6."""
    found = unit(np.array([[3.0, 4.0], [0.0, 0.0], [3e-8, 4e-8]]))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0], [0.03, 0.04]]))


def reduce(training: Any, validation: Any, **options: Any) -> tuple[Values, Values]:
    """`reduced` along (0, 2)."""
    arrays = np.array(training, dtype=np.float32), np.array(validation, dtype=np.float32)
    return reduce_dimensions(*arrays, np.array([0.0, 2.0]), George(**options), 0)


def test_classes_are_centred_and_normalised() -> None:
    """The mean is that of the training images, and goes first."""
    training, validation = [[1.0, 0.0], [5.0, 8.0], [0.0, 1.0]], [[5.0, 3.0]]
    found = reduce(training, validation, reduce="none", centre=True, normalise=False)
    assert found[0] == pytest.approx(np.array([[-1.0, -3.0], [3.0, 5.0], [-2.0, -2.0]]))
    assert found[1] == pytest.approx(np.array([[3.0, 0.0]]))
    found = reduce(training, validation, reduce="none", centre=True)
    assert found[1] == pytest.approx(np.array([[1.0, 0.0]]))
    assert np.linalg.norm(found[0], axis=1) == pytest.approx(1.0)
    found = reduce(training, validation, reduce="none")
    assert found[1] == pytest.approx(np.array([[5.0, 3.0]]) / math.sqrt(34.0))


def test_hardness_is_the_place_along_the_last_layer_s_difference() -> None:
    """Its length does not matter."""
    found = reduce([[3.0, 4.0]] * 3, [[0.5, -1.0]], reduce="hardness", normalise=False)
    assert found[0].tolist() == [[4.0]] * 3
    assert found[1].tolist() == [[-1.0]]
    found = reduce([[3.0, 4.0]] * 3, [[0.5, -1.0]], reduce="hardness")
    assert found[0] == pytest.approx(np.full((3, 1), 0.8))


def test_pca_keeps_the_directions_of_most_variance() -> None:
    """As a singular value decomposition of the centred training points, signs aside."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    training = (rng.normal(size=(30, 5)) @ mixing).astype(np.float32)
    validation = (rng.normal(size=(7, 5)) @ mixing).astype(np.float32)
    found = reduce_dimensions(
        training, validation, np.ones(5), George(reduce="pca", normalise=False), 0
    )
    mean = training.astype(float).mean(axis=0)
    axes = np.linalg.svd(training - mean, full_matrices=False)[2][:2]
    for points, vectors in zip(found, (training, validation), strict=True):
        assert np.abs(points) == pytest.approx(np.abs((vectors - mean) @ axes.T), abs=1e-5)
    few = reduce_dimensions(
        training[:3], validation[:0], np.ones(5), George(reduce="pca", components=9), 0
    )
    assert [points.shape for points in few] == [(3, 3), (0, 3)]


def test_umap_embeds_a_class_the_same_way_each_time() -> None:
    """Far clouds stay apart, also of validation images; small classes are embedded, too."""
    vectors, of = blobs([30, 20])
    vectors = np.concatenate([vectors + 30.0, vectors], axis=1).astype(np.float32)
    even = np.arange(50) % 2 == 0

    def embedded(seed: int, count: int = 25, **options: Any) -> tuple[Values, Values]:
        return reduce_dimensions(
            vectors[even][:count], vectors[~even], np.ones(4), George(**options), seed
        )

    points, further = embedded(7)
    assert points.shape == further.shape == (25, 2)
    assert points.dtype == further.dtype == np.float64
    partition = best_partition(points, George(clusters=2), 0)
    assert same_partition(partition.labels, of[even])
    assert same_partition(partition(further), of[~even])
    again, other = embedded(7), embedded(8)
    assert again[0].tobytes() == points.tobytes()
    assert again[1].tobytes() == further.tobytes()
    assert other[0].tobytes() != points.tobytes()
    for count, components in ((3, 2), (4, 2), (4, 8), (11, 8)):
        found = embedded(0, count, components=components)
        assert [p.shape for p in found] == [(count, components), (25, components)]
        assert all(np.isfinite(p).all() for p in found)
    nothing = reduce_dimensions(vectors[:9], vectors[:0], np.ones(4), George(), 0)
    assert nothing[1].shape == (0, 2)


def two_classes(**options: Any) -> tuple[Clusters, Ids, Ids]:
    """Three clouds of negatives and two of positives, some of each for validation."""
    first, of_first = blobs([12, 8, 10])
    second, of_second = blobs([9, 11])
    vectors = np.concatenate([first, second])
    labels = np.repeat([0, 1], [30, 20])
    known = np.concatenate([of_first, 3 + of_second])
    shuffled = np.random.default_rng(0).permutation(50)
    training, validation = shuffled[:36], shuffled[36:]
    given = (seen(vectors[rows], labels[rows]) for rows in (training, validation))
    config = George(reduce="none", normalise=False, max_clusters=5, **options)
    return cluster(*given, np.ones(2), config, 0), known[training], known[validation]


def test_classes_have_clusters_of_their_own() -> None:
    """Three negative clusters are 0 to 2, two positive ones 3 and 4, in validation the same."""
    found, training, validation = two_classes()
    assert found.counts.tolist() == [3, 2]
    assert set(found.training[training < 3]) == {0, 1, 2}
    assert set(found.training[training >= 3]) == {3, 4}
    assert same_partition(found.training, training)
    both = np.concatenate([found.training, found.validation])
    assert same_partition(both, np.concatenate([training, validation]))
    assert (found.silhouettes > 0.8).all()


@pytest.mark.parametrize(("whole", "counts"), [("negatives", [1, 2]), ("positives", [3, 1])])
def test_a_class_can_stay_whole(whole: str, counts: list[int]) -> None:
    """It is one cluster without a silhouette, and the ids of the other follow."""
    found, training, validation = two_classes(whole=whole)
    assert found.counts.tolist() == counts
    label = ["negatives", "positives"].index(whole)
    assert np.isnan(found.silhouettes).tolist() == [label == 0, label == 1]
    own = 0 if label == 0 else 3
    assert set(found.training[(training >= 3) == label]) == {own}
    assert set(found.validation[(validation >= 3) == label]) == {own}
    assert set(found.training) == set(range(sum(counts)))


def test_the_true_class_says_which_clusters_a_validation_image_can_have() -> None:
    """A negative that looks like the positives is in a negative cluster all the same."""
    vectors = np.array([[0.0], [1.0], [50.0], [51.0], [1000.0], [1001.0], [2000.0], [2001.0]])
    training = seen(vectors, np.repeat([0, 1], 4))
    validation = seen(np.array([[2000.0], [0.0], [2000.0]]), np.array([0, 1, 1]))
    options = George(reduce="none", normalise=False, clusterer="kmeans", clusters=2)
    found = cluster(training, validation, np.ones(1), options, 0)
    ids = found.training
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert found.validation.tolist() == [ids[2], ids[4], ids[6]]


@pytest.mark.parametrize("reduction", ["pca", "none", "hardness"])
@pytest.mark.parametrize("clusterer", ["gmm", "kmeans"])
def test_small_classes_do_not_crash(reduction: Any, clusterer: Any) -> None:
    """None, one or two training images make no or one cluster; more make fewer than images."""
    rng = np.random.default_rng(0)
    for count in range(8):
        labels = np.array([0] * count + [1] * 5)
        training = seen(rng.normal(size=(count + 5, 6)), labels)
        validation = seen(rng.normal(size=(4, 6)), np.array([0, 0, 1, 1]))
        options = George(reduce=reduction, clusterer=clusterer)
        found = cluster(training, validation, rng.normal(size=6), options, 0)
        negatives = found.counts[0]
        assert negatives == min(count, 1) if count < 3 else 2 <= negatives < count
        assert set(found.training) == set(range(found.counts.sum()))
        if count == 0:
            assert set(found.validation[:2]) == {NOWHERE}
        else:
            assert set(found.validation[:2]) <= set(range(negatives))
        assert set(found.validation[2:]) <= set(found.training[count:])


def test_a_mixture_that_cannot_be_fitted_has_a_remedy() -> None:
    """Numbers that a covariance overflows with: one error of ours, which says what to do."""
    points = np.repeat(np.array([[0.0], [1e200]]), 3, axis=0)
    with np.errstate(all="ignore"), pytest.raises(NumericalError) as caught:
        Partition(points, 2, "gmm", 0)
    assert "mixture of 2 Gaussians does not fit 6 points of 1 dimensions" in str(caught.value)
    assert "use clusterer: kmeans, or fewer clusters" in str(caught.value)


def test_the_mixture_assigns_as_its_own_numbers_say() -> None:
    """Responsibilities in plain numpy from weights, means and covariances give the same clusters.

    And the same probabilities to 1e-6, for the points and for others.
    """
    points, _ = blobs([40, 40, 40], seed=3, apart=3.0)
    further = points + np.random.default_rng(4).normal(size=points.shape)
    model = GaussianMixture(3, n_init=3, random_state=5).fit(points)
    found = Partition(points, 3, "gmm", 5)
    for own in (points, further):
        logs = []
        for weight, mean, covariance in zip(
            model.weights_, model.means_, model.covariances_, strict=True
        ):
            away = own - mean
            distance = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
            _, log_volume = np.linalg.slogdet(2 * np.pi * covariance)
            logs.append(np.log(weight) - 0.5 * (distance + log_volume))
        logs = np.stack(logs, axis=1)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found._belonging(own), shares, atol=1e-6)
        assert found(own).tolist() == shares.argmax(axis=1).tolist()
    assert shares.max(axis=1).min() < 0.99  # some point is between clusters
