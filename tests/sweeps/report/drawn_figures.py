"""What a report's figures show, read from the figures themselves as plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import umap
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


@dataclass
class Drawn:
    """Figures that were saved, and what UMAP was asked for.

    Attributes:
        figures: In the order of saving.
        fits: Neighbours, metric and images of every projection.
    """

    figures: list[Figure] = field(default_factory=list)
    fits: list[tuple[int, str, int]] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        """Lines of the figure of resolutions and panels of the projection, None where not drawn."""
        resolution = [f for f in self.figures if f.axes[0].get_xlabel().startswith("Resolution r")]
        projection = [f for f in self.figures if ", seed " in f.axes[0].get_title(loc="left")]
        return {
            "resolution": _resolution(resolution[0]) if resolution else None,
            "panels": _panels(projection[0]) if projection else None,
            "fits": self.fits,
        }


def watch_figures(patch: pytest.MonkeyPatch, *, projects: bool) -> Drawn:
    """Keep every figure that is saved from now on; UMAP may leave out what it takes long for.

    Args:
        patch: Ends the watch.
        projects: Whether embeddings are projected, or their first two numbers are drawn.
    """
    drawn, save = Drawn(), Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.figures.append(figure)
        save(figure, *arguments, **options)

    class Watched(umap.UMAP):  # type: ignore[misc]
        def fit_transform(self, X: Any, *arguments: Any, **options: Any) -> Any:
            drawn.fits.append((self.n_neighbors, self.metric, len(X)))
            return super().fit_transform(X, *arguments, **options) if projects else X[:, :2]

    patch.setattr(Figure, "savefig", keep)
    patch.setattr(umap, "UMAP", Watched)
    return drawn


def _resolution(figure: Figure) -> dict[str, Any]:
    left, right = figure.axes
    bars: dict[str, list[tuple[float, ...]]] = {}
    for container in left.containers:
        line, _, (columns,) = container.lines
        ends = [(low[1], high[1]) for low, high in columns.get_segments()]
        points = zip(*line.get_data(), ends, strict=True)
        bars[container.get_label()] = [(x, y, *end) for x, y, end in points]
    across = [line for line in left.lines if list(line.get_xdata()) == [0, 1]]
    return {
        "bars": bars,
        "dots": [_points(line) for line in left.lines if line.get_alpha() == 0.4],
        "level": [list(line.get_ydata()) for line in across],
        "lines": {line.get_label(): (line.get_linestyle(), _points(line)) for line in right.lines},
    }


def _points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def _panels(figure: Figure) -> Sequence[tuple[str, Counter[str]]]:
    """Every panel's title, and how many dots it has of each colour."""
    return [
        (
            axes.get_title(loc="left"),
            Counter(to_hex(c) for dots in axes.collections for c in dots.get_facecolors()),
        )
        for axes in figure.axes
    ]
