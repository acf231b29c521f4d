"""Phantom dermoscopic images with lesions and seven artefacts."""
