"""The memory plan against what autograd really keeps, tensor by tensor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loramill.pack.base import LoadedBase
from loramill.pack.forward import LOGITS, Draw
from loramill.pack.members import Pack, Shape
from loramill.pack.memory import LOGITS as PLANNED_LOGITS
from loramill.pack.memory import BaseShape, Memory, PassSize, estimate, kept_for_backward, shape_of_config
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.reports import read_json

RANK = 4
ROWS = [Row("a", tuple((7 * step + start) % 500 for step in range(60 + 9 * start)), 20 + start) for start in range(4)]
SIZE = PassSize(
    tokens=sum(len(row.ids) for row in ROWS), grid=4 * len(ROWS[-1].ids), targets=sum(row.targets for row in ROWS)
)


def base(kind: str) -> LoadedBase:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    config, model = (LlamaConfig, LlamaForCausalLM) if kind == "llama" else (Qwen3Config, Qwen3ForCausalLM)
    small: Any = config(
        vocab_size=500,
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        tie_word_embeddings=kind == "llama",
    )
    made: Any = model(small)
    made.requires_grad_(False)
    return LoadedBase(made.eval(), None, kind, "digest", {})


def kept(pack: Pack, dropout: float, *, checkpointing: bool = False) -> int:
    """Run a forward pass and add up the storages that autograd saved, the base's weights left out."""
    pack.checkpointing = checkpointing
    weights = {weight.untyped_storage().data_ptr() for weight in pack.base.model.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    pack.add("a", Shape(RANK, 8, dropout))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = pack.losses([Batch("a", ROWS)], {"a": Draw(1, 2)})  # noqa: F841 - it keeps the graph alive
    pack.remove("a")
    return sum(seen.values())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_the_plan_is_what_autograd_keeps(kind: str, dropout: float) -> None:
    loaded = base(kind)
    shape = shape_of_config(loaded.model.config.to_dict())
    assert shape is not None
    planned = kept_for_backward(shape, SIZE, RANK, dropout=dropout > 0, dtype_bytes=4)
    assert kept(Pack(loaded), dropout) == pytest.approx(planned, rel=0.05)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer(kind: str) -> None:
    loaded = base(kind)
    shape = shape_of_config(loaded.model.config.to_dict())
    assert shape is not None
    facts: dict[str, Any] = {"dropout": True, "dtype_bytes": 4}
    planned = kept_for_backward(shape, SIZE, RANK, checkpointing=True, **facts)
    one_layer = kept_for_backward(replace(shape, layers=1), SIZE, RANK, **facts) - kept_for_backward(
        replace(shape, layers=0), SIZE, RANK, **facts
    )
    assert kept(Pack(loaded), 0.1, checkpointing=True) + one_layer == pytest.approx(planned, rel=0.05)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_weights_are_counted_but_for_the_norms(kind: str) -> None:
    loaded = base(kind)
    shape = shape_of_config(loaded.model.config.to_dict())
    assert shape is not None
    counted = sum(weight.numel() for weight in loaded.model.parameters() if weight.dim() > 1)
    assert shape.weights == counted
    pack = Pack(loaded)
    before = counted
    pack.add("a", Shape(RANK, 8))
    after = sum(weight.numel() for weight in loaded.model.parameters() if weight.dim() > 1)
    assert shape.adapter_weights(RANK) == after - before


def test_qwens_own_configuration_gives_its_known_size(shared: Path) -> None:
    shape = shape_of_config(read_json(shared / "tok_qwen3_0.6b" / "config.json"))
    assert shape is not None
    assert shape.weights == pytest.approx(596_049_920, rel=1e-3)


def memory(shape: BaseShape, **changes: Any) -> Memory:
    usual: dict[str, Any] = {"ranks": [8], "dropout": True, "dtype_bytes": 2, "device": "cuda"}
    size = changes.pop("size", PassSize(1000, 1200, 700))
    return estimate(shape, size, **{**usual, **changes})


def test_each_part_grows_with_what_it_holds() -> None:
    shape = BaseShape(500, 64, 4, 8, 4, 8, 176, tied=True, normed_heads=False)
    one = memory(shape)
    assert memory(shape, dtype_bytes=4).base == 2 * one.base
    assert memory(shape, ranks=[8, 8]).adapters == 2 * one.adapters
    assert one.adapters == 16 * shape.adapter_weights(8)
    assert memory(shape, dropout=False).activations < one.activations
    assert memory(shape, size=PassSize(2000, 2400, 1400)).activations == 2 * one.activations
    assert one.total == one.base + one.adapters + one.activations + one.working + one.reserve


def test_a_base_of_another_kind_has_no_plan() -> None:
    assert shape_of_config({}) is None
    assert shape_of_config({"hidden_size": "wide", "num_attention_heads": 2}) is None
    assert shape_of_config({"num_experts": 8, "hidden_size": 64, "num_attention_heads": 2}) is None


def test_the_plan_knows_how_many_logits_exist_at_a_time() -> None:
    assert PLANNED_LOGITS == LOGITS
