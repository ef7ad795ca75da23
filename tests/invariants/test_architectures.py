"""Every family of base that conf/ names, tiny and random, through the pack; and those that packing cannot do, refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from loramill.errors import BaseModelError
from loramill.pack.base import LoadedBase
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.training.course import Course
from loramill.training.loop import fit

SMALL = {
    "vocab_size": 160,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # grouped queries
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Qwen3": {"head_dim": 8},
    "Llama": {},
    "Glm": {"head_dim": 8},
    "Glm4": {"head_dim": 8},
    "Mistral": {"sliding_window": 64},
}


def made(name: str, **changes: object) -> Any:
    """A random model whose logits are far enough apart to tell one computation from another."""
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **FAMILIES.get(name, {}), **changes})
    return awakened(AutoModelForCausalLM.from_config(config))


def awakened(model: Any) -> Any:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.2)
    model.requires_grad_(False)
    return model.eval()


def packed(model: Any, folder: Path) -> Pack:
    return Pack(LoadedBase(model, None, str(folder), "digest", {}))


@pytest.fixture(params=[*FAMILIES, "babyllama"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[], Any]]:
    """A base's folder, and how to open it afresh."""
    folder = tmp_path / "base"
    if request.param == "babyllama":  # real weights that were not made here
        folder = request.getfixturevalue("shared") / "weights_babyllama105_940k/hf"
    else:
        made(request.param).save_pretrained(folder)

    def opened() -> Any:
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.requires_grad_(False)
        return model.eval()

    return folder, opened


def some_rows(count: int) -> list[Row]:
    """Rows of unequal length, ids below 105."""
    return [
        Row(str(row), tuple((row * 31 + 7 * place + place * place) % 97 + 3 for place in range(9 + 4 * (row % 4))), 4)
        for row in range(count)
    ]


def course(name: str, rows: list[Row], shape: Shape) -> Course:
    return Course(
        name=name,
        shape=shape,
        train=tuple(rows),
        validation=tuple(rows[:2]),  # learnt too: what is kept has left its first weights
        learning_rate=1e-2,
        epochs=3,
        batch=3,
        seed=shape.seed,
        patience=9,
    )


def test_a_member_in_company_is_the_member_alone_and_opens_with_plain_peft(
    base: tuple[Path, Callable[[], Any]], tmp_path: Path
) -> None:
    from peft import PeftModel

    folder, opened = base
    rows = some_rows(8)
    pack = packed(opened(), folder)
    courses = [
        course("a", rows, Shape(rank=4, alpha=8.0, dropout=0.1, seed=1)),
        course("b", rows[::-1], Shape(rank=2, alpha=8.0, seed=2)),
    ]
    together = fit(pack, courses, tokens_per_pass=10**6)
    alone = fit(pack, courses[:1], tokens_per_pass=10**6)["a"]
    assert together["a"].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=1e-3)
    for key, weight in alone.best.items():
        assert torch.allclose(together["a"].best[key], weight, atol=1e-3), key

    pack.add("a", courses[0].shape)
    pack.set_weights("a", alone.best)
    pack.save("a", tmp_path / "adapter")
    losses = pack.losses([Batch("a", rows)])[0].split([row.targets for row in rows])
    plain = PeftModel.from_pretrained(opened(), str(tmp_path / "adapter")).eval()
    for row, ours in zip(rows, losses, strict=True):
        ids = torch.tensor([row.ids])
        with torch.no_grad(), pack.speaking("a") as model:
            theirs = plain(input_ids=ids, use_cache=False).logits
            assert torch.allclose(model(input_ids=ids, use_cache=False).logits, theirs, atol=1e-4)
        with plain.disable_adapter(), torch.no_grad():
            bare = plain(input_ids=ids, use_cache=False).logits
        assert not torch.allclose(bare, theirs, atol=1e-2), "the adapter changed nothing"
        asked = theirs[0, row.prompt_length - 1 : -1]
        targets = torch.tensor(row.ids[row.prompt_length :])
        assert torch.allclose(ours, torch.nn.functional.cross_entropy(asked, targets, reduction="none"), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "trait"),
    [
        (lambda: made("Gemma2", head_dim=8, attn_logit_softcapping=0.01), "attention scores are capped"),
        (lambda: made("GptOss", head_dim=8, num_local_experts=2, num_experts_per_tok=1), "attention has a sink"),
        (lambda: made("Cohere"), "the head scales its logits"),
        (lambda: made("Mamba"), "a state runs through all rows"),
        (
            lambda: awakened(
                AutoModelForCausalLM.from_config(
                    transformers.BloomConfig(vocab_size=160, hidden_size=32, n_layer=2, n_head=4)
                )
            ),
            "positions bend the attention scores",
        ),
    ],
)
def test_an_architecture_that_packing_would_change_is_refused_by_name(
    model: Callable[[], Any], trait: str, tmp_path: Path
) -> None:
    one = model()
    name = type(one).__name__
    with pytest.raises(
        BaseModelError, match=f"{name} computes other logits packed than alone .*report it with the model"
    ):
        packed(one, tmp_path)


def test_a_row_longer_than_the_attention_window_is_refused(tmp_path: Path) -> None:
    pack = packed(made("Mistral", sliding_window=16), tmp_path)
    fits, exceeds = Row("fits", tuple(range(3, 19)), 4), Row("exceeds", tuple(range(3, 20)), 4)
    assert len(pack.losses([Batch(None, [fits])])[0]) == fits.targets
    with pytest.raises(BaseModelError, match=r"a row of 17 tokens exceeds this base's attention window of 16; lower"):
        pack.losses([Batch(None, [exceeds])])
