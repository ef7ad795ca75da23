import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from loramill.errors import ConfigError
from loramill.reports import write_json
from loramill.search.look import open_dashboard, show

TRIALS = [
    {"trial": 0, "state": "pruned", "loss": 2.5, "rank": 4, "alpha_ratio": 1.0, "learning_rate": 1e-3},
    {"trial": 1, "state": "complete", "loss": 2.25, "rank": 8, "alpha_ratio": 1.0, "learning_rate": 2e-3},
]
REPORT = {
    "searched": True,
    "loss": 2.25,
    "loss_corrected": 2.375,
    "noise": 0.125,
    "said": "ranks 4 and 8 are indistinguishable here: taking 8",
    "trials": TRIALS,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORAMILL_STUDY_STORAGE", raising=False)
    (tmp_path / "conf").mkdir()
    for name in ("default", "law"):
        (tmp_path / f"conf/{name}.yaml").write_text("")
    return tmp_path


def test_a_search_is_shown_best_first_with_what_may_be_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(here / "artifacts/law/reports/search.json", REPORT)
    show("law")
    said = capsys.readouterr().out
    assert said.index("complete") < said.index("pruned")
    assert "loss 2.2500, 2.3750 when corrected for the choice; differences up to 0.1250 are noise" in " ".join(
        said.split()
    )
    assert "indistinguishable here: taking 8" in said


def test_settings_that_were_kept_are_no_search(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(here / "artifacts/law/reports/search.json", {"searched": False, "why": "search.trials is 0"})
    show("law")
    assert capsys.readouterr().out.strip() == "nothing was searched: search.trials is 0"


def test_a_domain_that_was_not_searched_is_told_what_to_run(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"law was not searched yet.*loramill run law"):
        show("law")
    with pytest.raises(ConfigError, match=r"law has no study yet.*loramill run law"):
        open_dashboard("law", 8081)


def test_the_dashboard_opens_on_the_study_of_this_machine_only(
    here: Path, monkeypatch: pytest.MonkeyPatch, quietly: Callable[[str], None]
) -> None:
    quietly("optuna")
    asked: dict[str, object] = {}
    fake = SimpleNamespace(run_server=lambda storage, **where: asked.update(where, storage=storage))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", fake)  # type: ignore[arg-type]
    study = here / "artifacts/law/work/search/study.db"
    study.parent.mkdir(parents=True)
    study.touch()
    open_dashboard("law", 9999)
    assert asked == {"storage": f"sqlite:///{study.resolve()}", "host": "127.0.0.1", "port": 9999}
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r'pip install "loramill\[dashboard\]"'):
        open_dashboard("law", 9999)
