"""Libraries that warn while they are imported are imported here, once, with those warnings off."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loramill.data import expectations
from loramill.pack.manifest import Manifest, adapter_digest, tokenizer_digest, write_manifest
from loramill.pack.members import Pack, shape_facts
from loramill.pack.methods import Shape
from loramill.prompts import template_digest
from tests.factories import tiny_base


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The tiny base is too small to share out: two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def quietly() -> Callable[[str], None]:
    """Import a library whose import warns."""

    def load(name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)

    return load


@pytest.fixture
def plain_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Great Expectations costs seconds: that it says the same is proven in the integration lane."""
    monkeypatch.setattr(expectations, "open_judge", expectations.judge_plainly)


@pytest.fixture(scope="module")
def pack(tiny_folder: Path) -> Pack:
    """The tiny base for a module of tests; each takes off what it hangs on."""
    return Pack(tiny_base(tiny_folder))


MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(pack: Pack, tmp_path: Path) -> MakeAdapter:
    """Leave an adapter that nobody trained in a folder, with its manifest."""

    def make(name: str = "adapter", seed: int = 1, **changes: object) -> Path:
        folder = tmp_path / name
        shape = Shape(rank=2, alpha=4, seed=seed)
        pack.add("made", shape)
        chance = torch.Generator().manual_seed(seed)
        pack.set_weights(
            "made",
            {key: torch.randn(value.shape, generator=chance) * 0.1 for key, value in pack.weights("made").items()},
        )
        folder.mkdir()
        pack.save("made", folder)
        pack.remove("made")
        manifest = Manifest(
            digest=adapter_digest(folder),
            domain="law",
            base=pack.base.name,
            base_digest=pack.base.digest,
            template_digest=template_digest(pack.base.tokenizer, pack.base.template),
            tokenizer_digest=tokenizer_digest(pack.base.tokenizer),
            shape=shape_facts(shape),
            training={"learning": {"max_tokens": 1024, "tokens_per_pass": 16384}},
            rows_digest="r",
            rows=["a"],
            started_from=None,
            validation_loss=1.0,
        )
        write_manifest(folder, replace(manifest, **changes))  # type: ignore[arg-type]
        return folder

    return make
