"""What a benchmark leaves behind, in ``artifacts/benchmarks/`` (git ignores it).

Each part of a benchmark is kept as soon as it is done, under its settings, the machine and the code that was measured: a run
that was killed goes on, and one after a change of code begins anew. Its last line goes into ``<name>.jsonl``, from which
``python -m benchmarks.pictures`` draws.
"""

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.contest import ROOT, WORK, machine

STOP_TOKENS = {"tok_qwen3_0.6b": "<|im_end|>"}
"""What ends an answer where a tokenizer's own eos is another token than its chat template writes."""
OTHERS = ("benchmarks/contestants", "loramill/prompts.py", "loramill/search/space.py")
"""Code of the other contestants, and what they are given: rows as tokens, and the space of a search."""
MEASURED = ("loramill/pack", "loramill/training", *OTHERS)
"""Code that the figures depend on ..."""
ASIDE = ("base", "facts", "greedy", "lineage", "manifest", "memory", "one_minute", "plan", "speak", "search_")
"""... but for modules that find, store, plan, search or speak: they take no part in a step."""


class Parts:
    """The parts of one benchmark: each made once, counted aloud with the time that is left."""

    def __init__(self, name: str, total: int, *, fresh: bool = False, folder: Path = WORK / "parts") -> None:
        self._name, self._total, self._fresh, self._folder = name, total, fresh, folder
        self._under = {"benchmark": name, "machine": machine()}
        self._seconds: list[float] = []

    def take(
        self,
        label: str,
        settings: Mapping[str, Any],
        make: Callable[[], dict[str, Any]],
        code: Sequence[str] = MEASURED,
    ) -> dict[str, Any]:
        """Return a part's result, from an earlier run or made now.

        Args:
            label: its name for people.
            settings: everything that tells it from the other parts.
            make: measures it.
            code: folders and files of what is measured; another contestant's figures outlive a change of ours.
        """
        under = self._under | {"code": code_digest(code)}
        key = json.dumps([under, label, settings], sort_keys=True)
        file = self._folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        known = file.is_file() and not self._fresh
        part = json.loads(file.read_text(encoding="utf-8")) if known else _timed(make)
        if not known:
            _write(file, part | {"label": label, "settings": dict(settings), **under, "commit": commit()})
        self._seconds.append(part["seconds"])
        print(f"[{len(self._seconds)}/{self._total}] {label}: {'kept' if known else 'done'}, {self.left()}", flush=True)
        return part["result"]  # type: ignore[no-any-return]

    def left(self) -> str:
        """Say how long the rest will take if it takes as long as the parts so far."""
        seconds = fmean(self._seconds) * (self._total - len(self._seconds))
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


def leave(name: str, report: Mapping[str, Any], folder: Path = WORK) -> None:
    """Print a benchmark's result as its last line, and keep it for the pictures."""
    line = json.dumps(report)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line)


def newest(name: str, folder: Path = WORK) -> Iterator[dict[str, Any]]:
    """Yield what a benchmark left, the newest first."""
    file = folder / f"{name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    yield from (json.loads(line) for line in reversed(lines))


def code_digest(folders: Sequence[str] = MEASURED) -> str:
    """Return a digest of the code that is measured, committed or not."""
    places = [ROOT / folder for folder in folders]
    files = sorted(
        file
        for place in places
        for file in ([place] if place.is_file() else place.rglob("*.py"))
        if not file.stem.startswith(ASIDE) or place.is_file()
    )
    lines = [f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def commit() -> str | None:
    """Return the commit that is checked out, if this is a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def _timed(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    result = make()
    return {"seconds": time.perf_counter() - began, "result": result}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".unfinished")
    beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    beside.replace(file)
