"""NIH ChestX-ray14 with the lung masks of CheXmask."""

from spurious.readers.nih_chexmask.nih_chexmask import NihChexmask as Reader

__all__ = ["Reader"]
