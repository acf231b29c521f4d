"""CANDID-PTX: films with masks of pneumothoraces and of chest tubes."""

from spurious.readers.candid_ptx.candid_ptx import CandidPtx as Reader

__all__ = ["Reader"]
