"""NIH ChestX-ray14 and PadChest as one set of two sites."""

from spurious.readers.nih_padchest.nih_padchest import NihPadchest as Reader

__all__ = ["Reader"]
