"""The SIIM-ACR pneumothorax release with chest-tube labels."""

from spurious.readers.siim_acr.siim_acr import SiimAcr as Reader

__all__ = ["Reader"]
