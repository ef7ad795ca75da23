"""The shape of the house: one name per step everywhere, one direction of imports, rooms small enough to live in."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
import yaml

from flows.places import Places
from flows.tend import EVENT, RESOURCE
from loramill.config import SECTIONS, domains


@pytest.fixture(scope="module")
def pipeline(root: Path) -> dict[str, object]:
    return yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_one_name_per_step_everywhere(root: Path, pipeline: dict[str, dict[str, object]]) -> None:
    steps = list(SECTIONS)
    assert list(pipeline["stages"]) == steps
    for step in steps:
        source = (root / "tasks" / f"{step}.py").read_text(encoding="utf-8")
        assert f'@task(name="{step}"' in source
    story = ast.parse((root / "flows/finetune.py").read_text(encoding="utf-8"))
    told = [
        node.args[0].id
        for node in ast.walk(story)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "step"
    ]
    assert sorted(told) == sorted(steps)
    default = yaml.safe_load((root / "conf/default.yaml").read_text(encoding="utf-8"))
    assert set(SECTIONS.values()) < set(default)


def test_stages_and_flow_agree_on_every_path(pipeline: dict[str, dict[str, dict[str, object]]]) -> None:
    place = Places("law")
    expected = {
        "validate": {"out": place.records, "report": place.report("validate")},
        "split": {"records": place.records, "out": place.splits, "report": place.report("split")},
        "search": {"splits": place.splits, "out": place.settings, "report": place.report("search")},
        "train": {"settings": place.settings, "out": place.adapter, "report": place.report("train")},
        "evaluate": {"adapter": place.adapter, "out": place.scores, "report": place.report("evaluate")},
        "promote": {"adapter": place.adapter, "scores": place.scores, "out": place.report("promote")},
    }
    for step, paths in expected.items():
        words = str(pipeline["stages"][step]["cmd"]).replace("${item.domain}", "law").split()
        given = dict(word.split("=", 1) for word in words if "=" in word)
        assert given.items() >= {name: str(path) for name, path in paths.items()}.items()


def test_every_domain_has_stages_and_a_deployment(root: Path, pipeline: dict[str, list[dict[str, list[str]]]]) -> None:
    night, *deployments = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert domains(root / "conf") == sorted(pipeline["vars"][0]["domains"])
    assert domains(root / "conf") == sorted(entry["name"] for entry in deployments)
    assert night["entrypoint"] == "flows/nightly.py:nightly"
    assert [each["timezone"] for each in night["schedules"]] == ["Asia/Shanghai"]
    assert night["triggers"][0]["expect"] == [EVENT]
    assert night["triggers"][0]["match"] == {"prefect.resource.id": RESOURCE}


def test_functions_and_files_stay_small(root: Path) -> None:
    files = [file for room in ("loramill", "tasks", "flows") for file in (root / room).rglob("*.py")]
    assert len(files) > 30
    sizes: list[int] = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{file} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                sizes.append(node.end_lineno - node.lineno + 1)  # type: ignore[operator]
                assert sizes[-1] <= 60, f"{file}: {node.name} has {sizes[-1]} lines"
    assert median(sizes) <= 12


def test_imports_go_one_way(root: Path) -> None:
    done = subprocess.run([f"{Path(sys.executable).parent}/lint-imports"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "5 kept" in done.stdout


def test_flow_files_import_no_heavy_library(root: Path) -> None:
    """The runner imports the flow file for every run and hook."""
    heavy = ("torch", "mlflow", "peft", "great_expectations", "optuna", "dvc")
    code = f"import flows.finetune, flows.nightly, flows.forget, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_list_of_peoples_rows_is_a_metric_of_dvc(root: Path) -> None:
    """DVC refuses a metrics file that it takes for binary, and it does so if a third of the first 512 bytes is not ASCII."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert {name for name, stage in stages.items() if "metrics" in stage} == {"search", "train", "evaluate"}
