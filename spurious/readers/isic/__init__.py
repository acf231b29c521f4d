"""ISIC 2018 task 1 with the trap splits of Bissoto et al."""

from spurious.readers.isic.isic import Isic as Reader

__all__ = ["Reader"]
