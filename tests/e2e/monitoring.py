"""A real Prometheus that scrapes the pods, and the questions a dashboard asks it."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from e2e_cluster import wait_for
from free_ports import free_ports


class Prometheus:
    """Asks a Prometheus server on loopback."""

    def __init__(self, port: int, targets: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._targets = targets

    def scrape(self, addresses: Sequence[str]) -> None:
        """Scrape these pods from now on; the server reads the file again by itself."""
        whole = json.dumps([{"targets": [f"{address}:8080" for address in addresses]}])
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(whole)
        os.replace(fresh, self._targets)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression; raises where Prometheus refuses it."""
        question = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}", timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def names(self) -> set[str]:
        """Names of all metrics it ever saw."""
        with urllib.request.urlopen(
            f"{self.url}/api/v1/label/__name__/values", timeout=20
        ) as answer:
            return set(json.load(answer)["data"])


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus on loopback, its data in `folder`, ended with the block."""
    [port], targets = free_ports(1), folder / "targets.json"
    targets.write_text("[]")
    config = folder / "prometheus.yaml"
    discovery = [{"files": [str(targets)], "refresh_interval": "5s"}]
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "5s"},
                "scrape_configs": [{"job_name": "ray", "file_sd_configs": discovery}],
            }
        )
    )
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        made = Prometheus(port, targets)
        wait_for("Prometheus", lambda: _answers(made), 60)
        yield made
    finally:
        server.terminate()
        server.wait(timeout=60)


def _answers(server: Prometheus) -> bool:
    try:
        server.query("up")
    except OSError:
        return False
    return True
