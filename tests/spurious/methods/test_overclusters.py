"""Over-clustering: which sub-clusters are kept, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from clouds import Ids, blobs, same_partition, seen
from threadpoolctl import threadpool_limits

from spurious.config.methods import George
from spurious.methods.george.clusters import cluster
from spurious.methods.george.overclusters import merge, refine, worth_keeping
from spurious.methods.george.partitions import Partition


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the method has it: threads that wait for each other take longer than these few points."""
    with threadpool_limits(1):
        yield


def keep(
    *,
    size: int = 25,
    family: int = 60,
    others: int = 100,
    validation: int = 25,
    before: float = 0.2,
    after: float = 0.3,
    loss: float = 1.0,
    loss_of_others: float = 1.0,
) -> bool:
    """Whether sub-cluster 6 is kept, whose sibling 8 has a loss of 1; no other one ever is."""
    subs = np.repeat([0, 6, 8], [others, size, family])
    of = subs == 6
    return worth_keeping(
        subs,
        np.repeat([0, 6, 8], [50, validation, 50]),
        np.where(of, before, 0.9),
        np.where(of, after, 0.1),
        np.where(of, loss, np.where(subs == 0, loss_of_others, 1.0)),
    ).tolist() == [6]


def test_a_kept_sub_cluster_is_more_compact_than_before() -> None:
    """Its mean silhouette rises, to above 0."""
    assert keep(before=0.2, after=0.21)
    assert not keep(before=0.2, after=0.2)
    assert not keep(before=0.2, after=0.19)
    assert keep(before=-0.5, after=0.01)
    assert not keep(before=-0.5, after=0.0)
    assert not keep(before=-0.5, after=-0.1)


def test_a_kept_sub_cluster_is_at_least_as_hard_as_its_cluster() -> None:
    """By mean losses; other clusters' losses do not matter."""
    assert keep(loss=1.5)
    assert keep(loss=1.0)
    assert not keep(loss=0.99)
    assert keep(loss=1.5, loss_of_others=9.0)
    assert not keep(loss=0.99, loss_of_others=0.0)


def test_a_kept_sub_cluster_is_large_enough() -> None:
    """25 training images, half a percent of the class's, and 25 validation images."""
    assert keep(size=25)
    assert not keep(size=24)
    assert keep(size=30, family=970, others=5000)
    assert not keep(size=29, family=971, others=5000)
    assert keep(validation=25)
    assert not keep(validation=24)


def test_sub_clusters_that_are_not_kept_merge_back() -> None:
    """What is left of a cluster comes first; a cluster of which all five are kept has no id."""
    subs = np.arange(15)
    kept = np.array([1, 3, 5, 6, 7, 8, 9])
    ids, further = merge(subs, np.array([14, 9, 4, 1]), kept)
    assert ids.tolist() == [0, 1, 0, 2, 0, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8]
    assert further.tolist() == [8, 7, 0, 1]
    ids, _ = merge(subs, subs[:0], kept[:0])
    assert ids.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def five_in_one(validation: int, loss: float) -> tuple[Ids, Ids, Ids, Ids]:
    """A cluster of five clouds beside one of a single cloud; `loss` is that of the first cloud."""
    sizes = [40, 40, 40, 40, 40]
    clouds, of = blobs(sizes)
    further, of_further = blobs([validation] * 5, seed=1)
    lone = np.random.default_rng(2).normal(size=(60, 2)) + 85.0
    points = np.concatenate([clouds, lone])
    partition = Partition(points, 2, "kmeans", 0)
    losses = np.where(np.arange(260) < 40, loss, 1.0)
    found = refine(points, further, losses, partition, "kmeans", 0)
    return *found, np.concatenate([of, np.full(60, 5)]), of_further


def test_clouds_within_a_cluster_are_found_by_over_clustering() -> None:
    """Equally hard ones all; of unequal ones the hard one, while the others stay together."""
    ids, further, of, of_further = five_in_one(validation=25, loss=1.0)
    assert set(ids) == set(range(6))
    assert same_partition(ids, of)
    assert same_partition(np.concatenate([ids, further]), np.concatenate([of, of_further]))
    ids, further, of, of_further = five_in_one(validation=25, loss=2.0)
    hard = np.where(of == 0, 0, np.where(of < 5, 1, 2))
    assert same_partition(ids, hard)
    assert (further[of_further == 0] == ids[0]).all()
    assert (further[of_further > 0] == ids[of == 1][0]).all()


def test_over_clustering_keeps_nothing_with_few_validation_images() -> None:
    """24 per cloud are too few; then the clusters are as they were."""
    ids, further, of, _ = five_in_one(validation=24, loss=1.0)
    assert same_partition(ids, (of == 5).astype(np.int64))
    assert set(further) == {ids[0]}


def test_over_clustering_leaves_tiny_and_single_clusters() -> None:
    """A cluster of fewer points than five, and one cluster that is all there is."""
    points = np.concatenate([blobs([30, 30])[0], np.full((3, 2), 900.0)])
    partition = Partition(points, 2, "kmeans", 0)
    ids, _ = refine(points, points, np.ones(63), partition, "kmeans", 0)
    assert len(set(ids[60:])) == 1
    alone = Partition(points[:60], 1, "gmm", 0)
    ids, _ = refine(points[:60], points[:60], np.ones(60), alone, "gmm", 0)
    assert ids.shape == (60,)


def test_over_clustering_is_an_option_of_a_class_s_clusters() -> None:
    """The clouds of one cluster become clusters where it is asked for."""
    vectors, _ = blobs([40] * 5)
    negatives = np.zeros(200, dtype=np.int64)
    images = seen(vectors, negatives, np.ones(200))
    for asked, count in ((False, 1), (True, 5)):
        options = George(
            reduce="none", normalise=False, clusterer="kmeans", clusters=1, overcluster=asked
        )
        found = cluster(images, images, np.ones(2), options, 0)
        assert found.counts.tolist() == [count, 0]
        assert found.training.tolist() == found.validation.tolist()
