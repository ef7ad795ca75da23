"""`loramill run law` as a person types it: stopped in every step, then to its end, then with every wrong input."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from loramill.config import SECTIONS
from loramill.records import read_records
from tests.copies import NOBODY, Copy, assert_whole, digests, done, end, is_alive, needs_small_disks, wait_until

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too
RUN = ("loramill", "run", "law")
STEPS = list(SECTIONS)


def runs(copy: Copy, status: str) -> int:
    """Count the flow runs of one status in the diary."""
    with suppress(sqlite3.OperationalError):  # not there yet
        query = "select count(*) from runs where status = ? and source_type is not null"
        with sqlite3.connect(f"file:{copy.folder}/mlruns/mlflow.db?mode=ro", uri=True) as store:
            return int(store.execute(query, (status,)).fetchone()[0])
    return 0


def has_begun(copy: Copy, step: str) -> bool:
    """Tell whether the run is past all steps before this one: their lines have been said."""
    before = STEPS[: STEPS.index(step)]
    said = copy.said()
    return runs(copy, "RUNNING") > 0 and set(before) <= done(copy) and all(f"  {name:<9} " in said for name in before)


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_ends_in_order_and_the_same_command_goes_on(copy: Copy, step: str) -> None:
    kept = digests(copy.folder / "artifacts", but=("work", "reports", "logs"))
    killed = runs(copy, "KILLED")
    process = copy.start(*RUN)
    try:
        wait_until(lambda: has_begun(copy, step) or process.poll() is not None, 300)
        assert process.poll() is None, copy.said()
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: process.poll() is not None, 60, told=copy.said)
        status, said = process.returncode, copy.said()
        assert not is_alive(process)
    finally:
        end(process)
    if step == STEPS[-1] and status != 1:  # the last step is quick: the run may be over when it hears of it
        assert done(copy) == set(STEPS)
        assert runs(copy, "RUNNING") == 0
        return
    assert status == 1, said
    assert "stopped. Nothing is lost: the same command continues where it was." in said
    assert "Traceback" not in said
    assert set(STEPS[: STEPS.index(step)]) <= done(copy)
    assert step == "validate" or "validate  unchanged, kept" in said or step == "split"
    assert runs(copy, "RUNNING") == 0
    assert runs(copy, "KILLED") > killed
    assert_whole(copy)
    now = digests(copy.folder / "artifacts", but=("work", "reports", "logs"))
    assert kept.items() <= now.items()


@pytest.fixture(scope="module")
def finished(copy: Copy) -> Copy:
    """The copy after a run to its end; with the tests above, the run that every Ctrl-C promised."""
    copy.run(*RUN)
    assert done(copy) == set(STEPS)
    return copy


def test_the_end_says_what_a_person_wants_to_know(finished: Copy) -> None:
    said = finished.run(*RUN)
    assert "nothing changed for law since the last run" in said
    for words in ("artifacts/law/adapter", "artifacts/law/scores.json", "loramill chat law"):
        assert words in said, said


def test_the_adapter_opens_with_plain_peft_and_scores_what_evaluate_said(finished: Copy, tiny_folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    law = finished.folder / "artifacts/law"
    said = json.loads((law / "scores.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), str(law / "adapter")).eval()

    def loss(question: str, answer: str) -> float:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        ids = [*asked, *tokenizer.encode(f"{answer}<|im_end|>", add_special_tokens=False)]
        labels = [-100] * len(asked) + ids[len(asked) :]
        with torch.no_grad():
            return float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss)

    test = [record for record in read_records(law / "splits/test.jsonl") if len(record.messages) == 2]
    assert len(test) >= 4
    adapter = {record.id: loss(record.question, record.answer) for record in test}
    with model.disable_adapter():
        base = {record.id: loss(record.question, record.answer) for record in test}
    rows = {row["id"]: row for row in said["per_row"]}
    assert adapter == pytest.approx({id: rows[id]["challenger"] for id in adapter}, abs=1e-3)
    assert base == pytest.approx({id: rows[id]["base"] for id in base}, abs=1e-3)
    assert said["loss"]["challenger"] < said["loss"]["base"]


@contextmanager
def wrong(copy: Copy, path: str, content: str | bytes) -> Iterator[None]:
    """Put a wrong file into the copy; afterwards everything is as before."""
    place = copy.folder / path
    before = place.read_bytes() if place.exists() else None
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        yield
    finally:
        place.unlink() if before is None else place.write_bytes(before)


def refused(copy: Copy, *words: str) -> str:
    """Run a command that must be refused in words; what was there before it must be there after it."""
    before = treasures(copy)
    said = copy.run(*words, status=1)
    assert "error: " in said, said
    assert "Traceback" not in said, said
    assert treasures(copy) == before
    assert_whole(copy)
    return said


def treasures(copy: Copy) -> dict[str, str]:
    """All that a run leaves, but for scratch, and the reports of the steps that ran again."""
    return digests(copy.folder / "artifacts", but=("work", "reports", "logs")) | digests(copy.folder / "data")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("serach: {trials: 2}", "serach: unknown key; allowed here: base, evaluate, "),
        ("learning: {batchsize: 4}", "learning.batchsize: unknown key; allowed here: batch, "),
        ("train: {epochs: -3}", "train.epochs: Input should be greater than 0, got -3"),
    ],
)
def test_a_wrong_word_in_conf_is_refused_with_the_words_that_are_known(
    finished: Copy, lines: str, message: str
) -> None:
    with wrong(finished, "conf/law.yaml", lines):
        said = refused(finished, *RUN)
    assert "conf/law.yaml: 1 wrong" in said
    assert message in said


def test_an_unknown_domain_is_refused_with_the_known_ones(finished: Copy) -> None:
    said = refused(finished, "loramill", "run", "lwa")
    assert "unknown domain 'lwa'" in said
    assert "there are: customer-service, law" in said
    assert "`loramill new lwa`" in said


def test_an_empty_folder_is_refused(finished: Copy) -> None:
    rows = finished.folder / "data/law"
    rows.rename(finished.folder / "aside")
    rows.mkdir()
    try:
        said = finished.run(*RUN, status=1)
    finally:
        rows.rmdir()
        (finished.folder / "aside").rename(rows)
    assert "error: data folder 'data/law' is empty: it holds no" in said
    assert "Traceback" not in said
    assert_whole(finished)


def test_a_file_that_cannot_be_decoded_is_refused_by_name(finished: Copy) -> None:
    with wrong(finished, "data/law/scan.txt", b"\xff\xfe\x00\xd8\x00\x00"):
        said = refused(finished, *RUN)
    assert "nothing could be read of 1 of the files" in said
    assert "scan.txt: " in said
    assert "take them out of the folder" in said


def test_a_base_that_does_not_exist_is_refused(finished: Copy) -> None:
    with wrong(finished, "conf/law.yaml", finished.plan_text(base="./models/qwen")):
        said = refused(finished, *RUN)
    assert "base './models/qwen' does not exist; give `embedded`, a name in conf/bases/, an existing folder" in said


def test_a_hub_that_refuses_is_told_at_once(finished: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    with wrong(finished, "conf/law.yaml", finished.plan_text(base="nobody/nothing")):
        said = refused(finished, *RUN)
    assert "base 'nobody/nothing' is no folder here and the hub did not give it" in said
    assert "Check the name and the network, or download it and write its folder as base" in said
    assert "Retrying" not in said


def test_a_hub_that_is_silent_is_given_up_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loramill.config import Base
    from loramill.errors import BaseModelError
    from loramill.pack.base import load_base

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(BaseModelError, match="the hub did not give it"):
            load_base(Base(source="nobody/nothing", device="cpu"), tmp_path)
        assert time.monotonic() - started < 20


FULL = """
mount -t tmpfs -o size={size}k none "$1" && cp -r "$2/." "$1" || exit 77
sha256sum $(find "$1" -type f -not -path "*/reports/*" -not -path "*/work/*") > before
{command}
status=$?
sha256sum --check --quiet before && exit $status || exit 78
"""
"""On a disk of its own, just big enough for what was there; nobody but this process sees it."""


def on_a_full_disk(copy: Copy, command: str, room: int) -> str:
    """Run a command that finds `room` kB in artifacts/; what was there must be there unchanged afterwards."""
    artifacts, store = copy.folder / "artifacts", copy.folder.parent / "store"
    if not store.exists():
        subprocess.run(["cp", "-rL", str(artifacts), str(store)], check=True)
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in store.rglob("*") if path.is_file())
    script = copy.folder / "full.sh"
    script.write_text(FULL.format(size=used + room, command=command), encoding="utf-8")
    needs_small_disks()
    process = copy.start("unshare", "-rm", "sh", str(script), "artifacts", str(store))
    try:
        status = process.wait(240)
    finally:
        end(process)
    assert status == 1, f"{status}: {copy.said()}"
    assert "Traceback" not in copy.said()
    return copy.said()


def test_a_full_disk_is_told_by_the_first_file_that_has_no_room(finished: Copy) -> None:
    said = on_a_full_disk(finished, "loramill run law --force", 0)
    assert "error: no room to write 'artifacts/law/" in said
    assert "Nothing was lost: free some space and run the same command again, it continues." in said


def test_a_disk_that_fills_while_training_leaves_the_old_adapter(finished: Copy) -> None:
    finished.plan("law", train={"epochs": 3, "patience": 3, "save_steps": 1})
    law = "artifacts/law"
    paths = f"splits={law}/splits settings={law}/settings.yaml out={law}/adapter report={law}/reports/train.json"
    try:
        said = on_a_full_disk(finished, f"python -m tasks.train conf/law.yaml {paths}", 24)
    finally:
        finished.plan("law")
    assert "train: no room to write 'artifacts/law/" in said
