"""VinDr-CXR: films with boxes of several radiologists."""

from spurious.readers.vindr_cxr.vindr_cxr import VindrCxr as Reader

__all__ = ["Reader"]
