"""What only the packed forward does: dropout as it should be on average, and the head in pieces."""

from pathlib import Path

import pytest
import torch

from loramill.pack import forward
from loramill.pack.dropout import token_keys
from loramill.pack.forward import Route, head_losses, routed
from loramill.pack.members import Pack
from loramill.pack.methods import Shape, lora_layers
from loramill.pack.rows import Batch, pack_rows
from loramill.training.loop import evaluate
from tests.factories import rows, tiny_base

DROPPED = 0.25


def filled(pack: Pack, name: str, shape: Shape, value: float) -> None:
    """Hang a member on the base whose weights are all one value."""
    pack.add(name, shape)
    pack.set_weights(name, {key: torch.full_like(held, value) for key, held in pack.weights(name).items()})


def test_dropout_leaves_the_product_as_it_is_on_average(tiny_folder: Path) -> None:
    """With A and B of ones an output is the sum of the inputs that stayed: each is worth 1 / (1 - share)."""
    pack = Pack(tiny_base(tiny_folder))
    filled(pack, "a", Shape(1, 1, DROPPED), 1.0)
    packed = pack_rows([Batch("a", rows(pack.base, 12))], pack.base.device)
    keys = token_keys(1, 2, packed.rows_N, packed.positions_1N[0])
    layer = lora_layers(pack.base.model)[0]
    inputs = layer.base_layer.in_features
    x_1NI = torch.ones(1, packed.ids_1N.shape[1], inputs)
    with torch.no_grad(), routed(pack.base.model, Route(packed, {"a": keys})):
        sums_N = (layer(x_1NI) - layer.base_layer(x_1NI))[0, :, 0]
    stayed_N = sums_N * (1 - DROPPED)
    spread = (inputs * DROPPED / (1 - DROPPED) / len(sums_N)) ** 0.5
    assert torch.allclose(stayed_N, stayed_N.round(), atol=1e-3)
    assert sums_N.mean().item() == pytest.approx(inputs, abs=4 * spread)
    assert sums_N.std().item() > 0


def test_positions_begin_anew_with_each_row_and_rows_with_each_member(tiny_folder: Path) -> None:
    """Rotary attention would not notice, but learnt positions and dropout would."""
    some = rows(tiny_base(tiny_folder), 3)
    packed = pack_rows([Batch("a", some[:2]), Batch("b", some[2:], first_row=5)], torch.device("cpu"))
    lengths = [len(row.ids) for row in some]
    assert packed.positions_1N[0].tolist() == [place for length in lengths for place in range(length)]
    assert packed.rows_N.tolist() == [
        number for number, length in zip((0, 1, 5), lengths, strict=True) for _ in range(length)
    ]


def test_an_evaluated_member_drops_nothing(tiny_folder: Path) -> None:
    pack = Pack(tiny_base(tiny_folder))
    some = rows(pack.base, 4)
    for name, share in (("a", 0.5), ("b", 0.0)):
        filled(pack, name, Shape(2, 4, share), 0.05)
    dropping, plain = (evaluate(pack, name, some, 10**6) for name in ("a", "b"))
    assert [loss for loss, _ in dropping] == pytest.approx([loss for loss, _ in plain], abs=1e-3)


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_the_head_in_pieces_is_the_head_at_once(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Losses and gradients, also where the last piece is a single target."""
    torch.manual_seed(1)
    head = torch.nn.Linear(6, 50, bias=False).requires_grad_(False)
    hidden_TD = torch.randn(7, 6, requires_grad=True)
    targets_T = torch.arange(7) * 5
    scales_T = torch.linspace(0.1, 2.0, 7)
    monkeypatch.setattr(forward, "LOGITS", chunk * 50 + 1)
    ours_T = head_losses(head, hidden_TD, targets_T)
    theirs_T = torch.nn.functional.cross_entropy(head(hidden_TD), targets_T, reduction="none")
    assert torch.allclose(ours_T, theirs_T, atol=1e-5)
    (ours,), (theirs,) = (torch.autograd.grad((each * scales_T).sum(), [hidden_TD]) for each in (ours_T, theirs_T))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_only_members_ask_for_gradients(tiny_folder: Path) -> None:
    """PEFT freezes all adapters but the active one, and wakes whole layers: here all members learn, and nothing else."""
    pack = Pack(tiny_base(tiny_folder))
    for name in "ab":
        pack.add(name, Shape(2, 4))
    with pack.speaking("a"), pack.speaking(None):
        pass
    asking = {key for key, weight in pack.base.model.named_parameters() if weight.requires_grad}
    assert asking
    assert len(asking) == len(pack.parameters("a")) + len(pack.parameters("b"))
    assert all(".lora_A." in key or ".lora_B." in key for key in asking)
