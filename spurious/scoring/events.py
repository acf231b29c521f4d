"""Names of what is noted beside the metrics of an epoch, by a value above 0."""

from __future__ import annotations

from typing import Final

UNMOVED_WEIGHTS: Final = "unmoved_weights"
"""Training has moved the weights by less than a millionth; noted by the loop, of the last epoch."""
CONSTANT_SCORES: Final = "constant_scores"
"""All images of both splits have one score at an epoch; read from stored predictions."""
COVERING_REGIONS: Final = "covering_regions"
"""How many regions cover the whole image, of trials where nearly all do that steer; of training."""
