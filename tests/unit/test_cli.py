import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loramill import cli
from loramill.errors import DataError, DiskFullError
from loramill.records import write_records
from loramill.reports import write_json
from tests.unit.helpers import stories

MAIN = "from loramill.cli import main; main()"


def loramill(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", MAIN, *words], cwd=cwd, capture_output=True, text=True, check=False)


def test_help_is_instant_and_names_every_command(root: Path) -> None:
    seconds = []
    for _ in range(3):  # the best of three: other work on this machine is not our doing
        started = time.perf_counter()
        done = loramill("--help", cwd=root)
        seconds.append(time.perf_counter() - started)
    assert done.returncode == 0
    assert all(f" {word} " in done.stdout for word in ("run", "chat", "new", "check"))
    assert min(seconds) < 1.0


def test_nothing_heavy_is_imported_for_help(root: Path) -> None:
    heavy = ["torch", "mlflow", "prefect", "transformers", "peft", "optuna", "dvc", "pandas", "great_expectations"]
    code = f"import sys, loramill.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_error_is_one_line_without_traceback(root: Path) -> None:
    done = loramill("check", "lwa", cwd=root)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: unknown domain 'lwa': ")


@pytest.mark.parametrize("error", [DataError("no rows"), DiskFullError(28, "no rows")])
def test_an_error_says_what_the_message_says(error: Exception) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        cli._polite(command)
    assert caught.value.code == "error: no rows"


def make_domain(folder: Path, tiny_folder: Path, learning: str = "{}") -> None:
    """A domain as a run left it: 40 rows that ``validate`` has cleaned, on the tiny base."""
    for name in ("conf", "data/mine", "artifacts/mine/reports"):
        (folder / name).mkdir(parents=True)
    (folder / "conf/default.yaml").write_text("")
    (folder / "conf/mine.yaml").write_text(f"base: {tiny_folder}\nlearning: {learning}\nsplit: {{test: 0.4}}\n")
    (folder / "data/mine/rows.txt").write_text("…")
    write_records(folder / "artifacts/mine/records.jsonl", stories(40))
    write_json(folder / "artifacts/mine/reports/validate.json", {"read": 43, "kept": 40})


def test_check_says_what_will_be_learnt_and_leaves_a_page(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_domain(tmp_path, tiny_folder)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["check", "mine", "--rows", "1"])
    assert done.exit_code == 0, done.output
    assert "ready: every row ends with the stop token" in done.output
    assert "<|im_start|>assistant" in done.output
    assert (tmp_path / "artifacts/mine/reports/check.html").is_file()


def test_check_for_machines_has_status_1_where_something_stops(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_domain(tmp_path, tiny_folder, "{max_tokens: 30}")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["check", "mine", "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["ready"] is False
    assert (told["records"], told["dropped_by_contract"]) == (40, 3)
    assert {problem["rule"] for problem in told["problems"]} == {"cut"}
    assert len(told["problems"]) == 40


def test_check_can_print_the_whole_plan(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    done = CliRunner().invoke(cli.app, ["check", "law", "--config"])
    assert done.exit_code == 0
    assert "validation:" in done.output
    assert "- 律师" in done.output


def test_run_hands_the_flow_its_words_and_its_status_on(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    monkeypatch.setattr(cli, "_flow", lambda words, force: heard.append((words, force)) or 3)
    assert CliRunner().invoke(cli.app, ["run", "law", "--force"]).exit_code == 3
    assert heard == [(["law"], True)]


def test_run_of_a_flat_file_says_what_each_key_became(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    (tmp_path / "mine.yaml").write_text("train_data_dir: rows\nbase_model: embedded\noutput_dir: out\n")
    heard: list[object] = []

    def flow(words: list[str], *, force: bool) -> int:
        heard.append(words)
        Path("artifacts/flat-mine/adapter").mkdir()
        return 0

    monkeypatch.setattr(cli, "_flow", flow)
    done = CliRunner().invoke(cli.app, ["run", "mine.yaml"])
    assert done.exit_code == 0, done.output
    assert heard == [["artifacts/flat-mine/flat-mine.yaml", "--data", "rows"]]
    assert "  base_model: embedded → base.source\n" in done.output
    assert done.output.endswith("adapter copied to out\n")
    assert (tmp_path / "out").is_dir()


def test_telemetry_is_off_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from loramill.privacy import SWITCHES

    for name in SWITCHES:
        monkeypatch.setenv(name, "on")
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    assert {name: os.environ[name] for name in SWITCHES} == SWITCHES
