"""CheXpert with the masks of CheXlocalize."""

from spurious.readers.chexlocalize.chexlocalize import Chexlocalize as Reader

__all__ = ["Reader"]
