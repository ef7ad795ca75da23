"""DVC as the memory, in a repository of its own: what runs again after which change, and what does not."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.copies import Copy, commit, make_copy

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too
NOTHING = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Copy:
    """Both domains trained by the flow."""
    made = make_copy(root, tmp_path_factory.mktemp("dvc") / "loramill", tiny_folder)
    for domain in ("law", "customer-service"):
        made.run("loramill", "run", domain)
    return made


ALL = ("validate", "split", "search", "train", "evaluate", "promote")


def steps_run(said: str) -> set[str]:
    return {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}


def report(copy: Copy, step: str, domain: str = "law") -> dict[str, object]:
    path = copy.folder / f"artifacts/{domain}/reports/{step}.json"
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_after_the_flow_nothing_is_left_to_do(copy: Copy) -> None:
    said = copy.run("dvc", "repro")
    assert steps_run(said) == set()
    assert NOTHING in said


def test_a_knob_of_evaluate_runs_evaluate_and_promote_alone(copy: Copy) -> None:
    copy.plan("law", evaluate={"answers": 1, "max_new_tokens": 8})
    said = copy.run("dvc", "repro")
    # promote depends on evaluate's scores, and those have one answer less
    assert steps_run(said) == {"evaluate@law", "promote@law"}
    assert NOTHING in copy.run("dvc", "repro")


def test_new_rows_train_their_domain_on_from_its_last_adapter_and_leave_the_other_alone(copy: Copy) -> None:
    last = report(copy, "train")["adapter"]
    places = ledger(copy)
    with (copy.folder / "data/law/contracts.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"\n用户：{question}\n律师：{answer}\n" for question, answer in NEW)
    said = copy.run("dvc", "repro")
    assert steps_run(said) == {f"{step}@law" for step in ALL}
    assert report(copy, "split")["new"] == len(NEW)
    assert places.items() <= ledger(copy).items()
    assert report(copy, "train")["started_from"] == last
    assert report(copy, "train")["adapter"] != last
    assert NOTHING in copy.run("dvc", "repro")


def ledger(copy: Copy) -> dict[str, str]:
    path = copy.folder / "artifacts/law/splits/ledger.json"
    return json.loads(path.read_text(encoding="utf-8"))["places"]  # type: ignore[no-any-return]


NEW = (
    ("押金两百块离职时不退，说是工作服磨损，合理吗？", "依据《劳动合同法》第九条，用人单位不得收取押金或者其他财物。"),
    ("哺乳期每天有多长时间可以喂奶？", "根据《女职工劳动保护特别规定》第九条，每天安排一小时哺乳时间。"),
    ("干满十五年，今年的带薪假是几天？", "依据《职工带薪年休假条例》第三条，满十年不满二十年的，年休假十天。"),
    ("法定节日被叫去值守仓库，报酬怎么算？", "根据《劳动法》第四十四条，支付不低于工资的百分之三百。"),
    ("失业金最长能领多久？", "依据《失业保险条例》第十七条，累计缴费满十年以上的，最长二十四个月。"),
)


def test_a_fresh_clone_pulls_the_sample_data_with_no_account(root: Path, copy: Copy, tmp_path: Path) -> None:
    commit(copy.folder)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(copy.folder), str(clone)], check=True)
    # the copy has few rows of its own; the clone gets the file that the repository ships
    shutil.copy2(root / "data.dvc", clone / "data.dvc")
    assert not (clone / "data").exists()
    Copy(clone, {"TINY_BASE": ""}).run("dvc", "pull", "--remote", "store", "data.dvc")
    for domain, count in (("law", 240), ("customer-service", 180)):
        files = list((clone / "data" / domain).iterdir())
        mark = "\n\n" if domain == "law" else "\n"
        assert sum(len(file.read_text(encoding="utf-8").strip().split(mark)) for file in files) >= count


def test_rows_of_ones_own_go_to_ones_own_storage(root: Path, tmp_path: Path) -> None:
    """As the README says it; never into the sample store, which git keeps."""
    clone, storage = tmp_path / "clone", tmp_path / "storage"
    subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
    shutil.copy2(root / "data.dvc", clone / "data.dvc")
    private = clone / "data" / "law" / "private.jsonl"
    private.parent.mkdir(parents=True)
    private.write_text('{"question": "q", "answer": "a"}\n', encoding="utf-8")
    here = Copy(clone, {"TINY_BASE": ""})
    samples = sorted(file for file in (clone / ".dvc" / "samples").rglob("*") if file.is_file())
    here.run("dvc", "remote", "add", "--default", "mine", str(storage))
    here.run("dvc", "add", "data")
    here.run("dvc", "push")
    pushed = [file.read_text(encoding="utf-8") for file in storage.rglob("*") if file.is_file()]
    assert private.read_text(encoding="utf-8") in pushed
    assert sorted(file for file in (clone / ".dvc" / "samples").rglob("*") if file.is_file()) == samples
