"""The kinds of store: every test with the fixture `store` runs on each of them."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store

STORES: Mapping[str, type[Store]] = {"folder": FolderStore, "s3": S3Store}
"""By the name of the fixture that makes an empty one: `folder_store` and so on."""
