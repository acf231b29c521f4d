"""Any team's own folder of images: with a table, with folders of classes, or with both."""

from spurious.readers.folder.folder import Folder as Reader

__all__ = ["Reader"]
