"""Deep feature re-weighting: a last layer on balanced data."""
