"""RSNA Pneumonia Detection Challenge 2018."""

from spurious.readers.rsna_pneumonia.rsna_pneumonia import RsnaPneumonia as Reader

__all__ = ["Reader"]
