"""`sweeps.api`: the verbs for Python, as the documents show them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from tiny_sweeps import TEXT, run_here

from cluster.stores.folder import FolderStore
from docs.generate.documents import ROOT
from sweeps import api
from sweeps.commands.verbs import VERBS
from sweeps.errors import SweepError, UnknownSweep
from sweeps.plan.archive import archive
from sweeps.spec.model import parse_spec


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a sweep that has run with models, and its store as the default."""
    monkeypatch.chdir(tmp_path)
    text = TEXT + "keep: model\n"
    (tmp_path / "tiny.yaml").write_text(text)
    store, spec = FolderStore(tmp_path / "store"), parse_spec(text)
    archive(store, spec, run_here(store, spec, tmp_path / "cache"))
    monkeypatch.setenv("SWEEPS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_documents_example_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of it, on a smaller sweep; what it prints is what its comments say."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    small = {"sweeps/specs/quickstart.yaml": "tiny.yaml", "quickstart": "tiny"}
    small |= {"mask-250-erm": "mask-20-erm", '"train.epochs": 30': '"train.epochs": 3'}
    for before, after in small.items():
        assert before in code
        code = code.replace(before, after)
    names: dict[str, object] = {}
    exec(compile(code, "docs/models.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "specificity" in printed
    assert names["done"]["failed"] == names["done"]["missing"] == 0  # type: ignore[index]
    assert (here / "tiny-report" / "report.html").exists()
    assert (here / "scored" / "evaluation.md").exists()


def test_documents_have_the_fields_of_the_verbs(here: Path) -> None:
    """Those that `--help` lists; nothing is printed on the way, and tables are those of `pull`."""
    fields = {verb.name: set(verb.json_fields) for verb in VERBS}
    assert api.plan("tiny.yaml").keys() == fields["plan"]
    assert api.run("tiny.yaml").keys() == fields["run"]
    assert api.report("tiny", out="r").keys() == fields["report"]
    both = api.report("tiny", "tiny.yaml", out="both")
    assert both.keys() == fields["report"]
    assert "the very same trials" in both["answer"]
    model = api.export("tiny", "label-20-erm", seed=1, out=here / "m")
    assert model.keys() == fields["export"]
    scored = api.evaluate(here / "m", "gaussian-squares", splits=["test"], out=here / "s")
    assert scored.keys() == fields["evaluate"]
    assert scored["splits"].keys() == {"test"}
    tables = api.tables("tiny")
    assert {"trials", "epochs", "predictions", "failures"} <= tables.keys()
    assert tables["trials"].num_rows == 4


def test_standard_output_stays_the_callers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents are returned, not printed; a document of each call is its own."""
    first, second = api.plan("tiny.yaml"), api.plan("tiny.yaml", settings={"axes.seed": [0]})
    assert len(first["trials"]) == 2 * len(second["trials"]) == 4
    api.tables("tiny")
    assert capsys.readouterr().out == ""


def test_errors_are_raised(here: Path) -> None:
    """As the commands raise them, and the next call works."""
    with pytest.raises(UnknownSweep, match="no sweep 'none'"):
        api.tables("none")
    with pytest.raises(SweepError, match=r"train\.epoch: unknown key"):
        api.plan("tiny.yaml", settings={"train.epoch": 3})
    assert api.plan("tiny.yaml")["sweep"] == "tiny"


def test_the_functions_are_verbs() -> None:
    """Each public name is a verb, but for `tables`, which is what `pull` writes."""
    verbs = {verb.name for verb in VERBS}
    assert set(api.__all__) - {"tables"} <= verbs
    assert all(inspect.isfunction(getattr(api, name)) for name in api.__all__)
