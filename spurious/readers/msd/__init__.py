"""Tasks of the Medical Segmentation Decathlon."""

from spurious.readers.msd.msd import Msd as Reader

__all__ = ["Reader"]
