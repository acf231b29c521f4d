"""Numbers about predictions and images: metrics, measures, selection, prices."""
