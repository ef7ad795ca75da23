"""The contract of the pack: a member in company is the member alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loramill.pack.forward import Draw, check_packed_forward
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch, pack_rows
from loramill.training.course import Course
from loramill.training.loop import Outcome, Silence, Tick, evaluate, fit
from tests.factories import course, rows, tiny_base

PLENTY = 10**6


@pytest.fixture
def pack(tiny_folder: Path) -> Pack:
    return Pack(tiny_base(tiny_folder))


def awake(pack: Pack, name: str, shape: Shape) -> None:
    """Add a member whose B is not zero, so that it changes what the base says."""
    pack.add(name, shape)
    chance = torch.Generator().manual_seed(shape.seed + 99)
    weights = {key: torch.randn(value.shape, generator=chance) * 0.1 for key, value in pack.weights(name).items()}
    pack.set_weights(name, weights)


def gap(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max((first[key] - second[key]).abs().max().item() for key in first)


def test_member_in_a_pack_equals_the_member_alone_after_50_steps(pack: Pack) -> None:
    some = rows(pack.base, 19)
    courses = [
        course("a", some),
        course("b", some[::-1], shape=Shape(rank=8, alpha=8, dropout=0.2, seed=2), learning_rate=2e-3, seed=2),
        course(
            "c",
            some,
            shape=Shape(2, 8, 0.0, ("q_proj", "v_proj"), seed=3),
            learning_rate=1e-2,
            batch=5,
            epochs=16,
            seed=3,
        ),
    ]
    # rows that are learnt validate too, so that the best weights are the last ones
    courses = [replace(one, validation=one.train[:4]) for one in courses]
    together = fit(pack, courses, tokens_per_pass=PLENTY)
    for one in courses:
        alone = fit(pack, [one], tokens_per_pass=PLENTY)[one.name]
        assert alone.progress.best_epoch * one.steps_per_epoch >= 48
        assert together[one.name].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=1e-3)
        assert gap(dict(together[one.name].best), dict(alone.best)) < 1e-3


def test_many_passes_equal_one(pack: Pack) -> None:
    some = rows(pack.base, 16)
    one = course("a", some, batch=6, epochs=3)
    whole = fit(pack, [one], tokens_per_pass=PLENTY)["a"]
    split = fit(pack, [one], tokens_per_pass=50)["a"]
    assert whole.progress.train_losses == pytest.approx(split.progress.train_losses, abs=1e-5)
    assert gap(dict(whole.best), dict(split.best)) < 1e-4


def test_packed_rows_equal_padded_rows_of_the_plain_model(pack: Pack) -> None:
    awake(pack, "a", Shape(4, 8))
    some = rows(pack.base, 6)
    packed = pack.losses([Batch("a", some)])[0].split([row.targets for row in some])
    longest = max(len(row.ids) for row in some)
    ids = torch.tensor([list(row.ids) + [0] * (longest - len(row.ids)) for row in some])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in some])
    with pack.speaking("a") as model, torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    for index, row in enumerate(some):
        asked = logits[index, row.prompt_length - 1 : len(row.ids) - 1]
        theirs = torch.nn.functional.cross_entropy(asked, torch.tensor(row.ids[row.prompt_length :]), reduction="none")
        assert torch.allclose(packed[index], theirs, atol=1e-5)


def test_gradient_of_the_head_equals_autograd(pack: Pack) -> None:
    from loramill.pack.forward import head_losses

    head = pack.base.model.get_output_embeddings()
    hidden = torch.randn(7, head.weight.shape[1], requires_grad=True)
    targets = torch.arange(7) * 3
    weights = torch.linspace(0.1, 2.0, 7)
    (head_losses(head, hidden, targets) * weights).sum().backward()
    ours, hidden.grad = hidden.grad, None
    (torch.nn.functional.cross_entropy(head(hidden), targets, reduction="none") * weights).sum().backward()
    assert ours is not None
    assert torch.allclose(ours, hidden.grad, atol=1e-6)


def test_rows_do_not_see_each_other(pack: Pack) -> None:
    some = rows(pack.base, 5)
    company = pack.losses([Batch(None, some)])[0].split([row.targets for row in some])
    for row, losses in zip(some, company, strict=True):
        assert torch.allclose(losses, pack.losses([Batch(None, [row])])[0], atol=1e-5)


def test_prompt_tokens_are_not_learnt(pack: Pack) -> None:
    """What a prompt token should have been changes nothing: only answers are targets."""
    row = rows(pack.base, 1)[0]
    packed = pack_rows([Batch(None, [row])], torch.device("cpu"))
    assert packed.targets_T.tolist() == list(row.ids[row.prompt_length :])
    assert packed.asked_T.tolist() == list(range(row.prompt_length - 1, len(row.ids) - 1))


def test_each_member_divides_by_its_own_targets(pack: Pack) -> None:
    """Loss is nats per target of the member's own step, whatever its neighbours bring."""
    some = rows(pack.base, 12)
    short = course("a", some, batch=2, epochs=1)
    long = course("b", some[::-1], batch=8, epochs=1, seed=5)
    losses = fit(pack, [short, long], tokens_per_pass=PLENTY)
    first = short.rows_of_step(0)
    pack.add("a", short.shape)
    with torch.no_grad():
        nats = pack.losses([Batch("a", first)], {"a": Draw(short.seed, 0)})[0]
    assert losses["a"].progress.train_losses[0] == pytest.approx(nats.mean().item(), abs=1e-5)


def test_alpha_over_rank_scales_the_adapter(pack: Pack) -> None:
    """Double alpha with half of B is the same adapter."""
    awake(pack, "a", Shape(4, 8))
    pack.add("b", Shape(4, 16))
    weights = pack.weights("a")
    pack.set_weights("b", {key: value * (0.5 if "lora_B" in key else 1.0) for key, value in weights.items()})
    some = rows(pack.base, 3)
    first, second, bare = pack.losses([Batch("a", some), Batch("b", some), Batch(None, some)])
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(first, bare, atol=1e-2)


def test_only_adapter_weights_move(pack: Pack) -> None:
    before = {key: value.clone() for key, value in pack.base.model.state_dict().items()}
    some = rows(pack.base, 10)
    outcome = fit(pack, [course("a", some, epochs=2)], tokens_per_pass=PLENTY)["a"]
    after = pack.base.model.state_dict()
    base_keys = [key for key in before if "lora_" not in key]
    assert base_keys
    for key in base_keys:
        here = key if key in after else key.replace(".weight", ".base_layer.weight")
        assert torch.equal(before[key], after[here])
    assert all(value.abs().max() > 0 for key, value in outcome.best.items() if "lora_B" in key)


def test_merge_equals_w_plus_scaled_ba_and_saved_equals_loaded(pack: Pack, tmp_path: Path, tiny_folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    awake(pack, "a", Shape(4, 8))
    some = rows(pack.base, 3)
    ours = pack.losses([Batch("a", some)])[0]
    pack.save("a", tmp_path / "adapter")
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tiny_folder
    )
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder)
    frozen = plain.model.layers[0].self_attn.q_proj.weight.detach().clone()
    opened = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    layer = opened.base_model.model.model.layers[0].self_attn.q_proj
    change = 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    ids = torch.tensor([some[0].ids])
    with torch.no_grad():
        loaded = opened(ids).logits
        opened.merge_adapter()
        with pytest.warns(UserWarning, match="already merged"):
            merged = opened.merge_and_unload()  # twice equals once
        assert torch.allclose(loaded, merged(ids).logits, atol=1e-4)
    assert torch.allclose(merged.model.layers[0].self_attn.q_proj.weight, frozen + change, atol=1e-6)
    asked = loaded[0, some[0].prompt_length - 1 : -1]
    theirs = torch.nn.functional.cross_entropy(
        asked, torch.tensor(some[0].ids[some[0].prompt_length :]), reduction="none"
    )
    assert torch.allclose(ours[: some[0].targets], theirs, atol=1e-4)


def test_a_member_that_diverges_leaves_its_neighbour_untouched(pack: Pack) -> None:
    some = rows(pack.base, 13)
    pack.add("probe", Shape(4, 8, seed=2))
    broken = {key: torch.full_like(value, float("inf")) for key, value in pack.weights("probe").items()}
    pack.remove("probe")
    good = course("good", some, epochs=2)
    bad = course("bad", some[::-1], shape=Shape(4, 8, seed=2), start=broken, seed=4, epochs=2)
    alone = fit(pack, [good], tokens_per_pass=PLENTY)["good"]
    for order in ([good, bad], [bad, good]):
        outcome = fit(pack, order, tokens_per_pass=PLENTY)
        assert outcome["bad"].progress.status == "diverged"
        assert outcome["good"].progress.status == "finished"
        assert gap(dict(outcome["good"].best), dict(alone.best)) < 1e-4


def test_packed_forward_is_checked_against_the_model_itself(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loramill.errors import BaseModelError
    from loramill.pack import forward

    base = tiny_base(tiny_folder)
    packed = pack_rows([Batch(None, rows(base, 2))], base.device)
    check_packed_forward(base.model, packed)

    def uncausal(module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: object, **__: object):  # type: ignore[no-untyped-def]
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2), None

    monkeypatch.setattr(forward, "attend_within_rows", uncausal)
    with pytest.raises(BaseModelError, match="cannot be trained exactly here"):
        check_packed_forward(base.model, packed)


def test_evaluation_of_many_passes_equals_one(pack: Pack) -> None:
    some = rows(pack.base, 7)
    assert [s for s, _ in evaluate(pack, None, some, PLENTY)] == pytest.approx(
        [s for s, _ in evaluate(pack, None, some, 40)], abs=1e-3
    )


def test_members_join_and_leave_without_a_trace(pack: Pack) -> None:
    """A place that is freed is taken by the next course, and each ends as if it had been alone."""
    some = rows(pack.base, 14)
    waiting = [
        course("c", some, epochs=3, seed=5, shape=Shape(2, 4, 0.1, seed=5)),
        course("d", some, epochs=1, batch=7, shape=Shape(8, 8, seed=6)),
    ]
    first = [course("a", some, epochs=1), course("b", some[::-1], epochs=4, seed=3)]
    at_once: list[set[str]] = []

    class Doorman(Silence):
        def on_tick(self, tick: Tick) -> None:
            at_once.append(set(tick.losses))

        def on_end(self, outcome: Outcome) -> list[Course]:
            return [waiting.pop(0)] if waiting else []

    everybody = [*first, *waiting]
    together = fit(pack, first, tokens_per_pass=PLENTY, listener=Doorman())
    assert set(together) == {"a", "b", "c", "d"}
    assert {"a", "b"} in at_once
    assert {"b", "c"} in at_once
    assert max(map(len, at_once)) == 2
    assert pack.names == []
    for one in everybody:
        alone = fit(pack, [one], tokens_per_pass=PLENTY)[one.name]
        assert together[one.name].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=1e-3)
        assert gap(dict(together[one.name].best), dict(alone.best)) < 1e-3
