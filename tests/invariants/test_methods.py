"""Each method shares a pack without a trace, and opens in plain PEFT as what it was when it was trained."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from loramill.config import Method
from loramill.errors import AdapterError
from loramill.pack.members import Pack
from loramill.pack.methods import Shape, lora_layers
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.training.course import Course
from loramill.training.loop import Outcome, fit
from tests.factories import rows, tiny_base

PACKED: tuple[Method, ...] = ("lora", "rslora", "dora", "pissa", "olora", "eva", "lora-plus")
PLENTY = 10**6


@pytest.fixture
def pack(tiny_folder: Path) -> Pack:
    return Pack(tiny_base(tiny_folder))


def course(some: list[Row], method: Method, seed: int = 1) -> Course:
    shape = Shape(rank=3, alpha=6, dropout=0.1 if method != "dora" else 0.0, seed=seed, method=method)
    return Course(method, shape, tuple(some[:-3]), tuple(some[-3:]), 5e-3, epochs=3, batch=4, seed=seed, patience=99)


def trained(pack: Pack, outcome: Outcome, folder: Path) -> Path:
    pack.add(outcome.course.name, outcome.course.shape)
    pack.set_weights(outcome.course.name, outcome.best)
    pack.save(outcome.course.name, folder)
    return folder


def assert_plain_peft_agrees(pack: Pack, name: str, row: Row, folder: Path, tiny_folder: Path) -> None:
    """Open a stored member with plain PEFT: it says of one row what the member says, which is not what the base says."""
    with torch.no_grad():
        ours, bare = pack.losses([Batch(name, [row]), Batch(None, [row])])
        opened = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), str(folder))
        logits = opened(torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1]
    theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[row.prompt_length :]), reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, bare, atol=1e-2)


def test_every_method_in_one_pack_is_each_method_alone(pack: Pack) -> None:
    some = rows(pack.base, 15)
    courses = [course(some, method, seed) for seed, method in enumerate(PACKED)]
    together = fit(pack, courses, tokens_per_pass=PLENTY)
    for one in courses:
        alone = fit(pack, [one], tokens_per_pass=PLENTY)[one.name]
        assert alone.progress.train_losses[-1] < alone.progress.train_losses[0]
        assert together[one.name].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=1e-3)
        for key, value in alone.best.items():
            assert torch.allclose(together[one.name].best[key], value, atol=2e-3), (one.name, key)


@pytest.mark.parametrize("method", PACKED)
def test_plain_peft_computes_what_the_pack_computed(
    pack: Pack, method: Method, tmp_path: Path, tiny_folder: Path
) -> None:
    some = rows(pack.base, 12)
    outcome = fit(pack, [course(some, method)], tokens_per_pass=PLENTY)[method]
    folder = trained(pack, outcome, tmp_path / "adapter")
    assert_plain_peft_agrees(pack, method, some[0], folder, tiny_folder)


@pytest.mark.parametrize("method", PACKED)
def test_before_the_first_step_the_model_is_the_base(pack: Pack, method: Method) -> None:
    some = rows(pack.base, 3)
    pack.add("a", Shape(3, 6, method=method), some)
    first, bare = pack.losses([Batch("a", some), Batch(None, some)])
    assert torch.allclose(first, bare, atol=1e-4)


@pytest.mark.parametrize("method", ["pissa", "olora"])
def test_the_carried_product_never_learns_and_the_base_keeps_its_weights(pack: Pack, method: Method) -> None:
    some = rows(pack.base, 12)
    before = {key: value.clone() for key, value in pack.base.model.state_dict().items()}
    pack.add("a", Shape(3, 6, seed=1, method=method))
    start = pack.weights("a")
    pack.remove("a")
    outcome = fit(pack, [course(some, method)], tokens_per_pass=PLENTY)[method]
    assert all(torch.equal(value, before[key]) for key, value in pack.base.model.state_dict().items())
    for key, value in outcome.best.items():
        learnt, still = (value[:3], value[3:]) if "lora_A" in key else (value[:, :3], value[:, 3:])
        assert torch.equal(still, start[key][3:] if "lora_A" in key else start[key][:, 3:])
        assert not torch.equal(learnt, start[key][:3] if "lora_A" in key else start[key][:, :3])


def test_pissa_starts_from_the_largest_singular_directions(pack: Pack) -> None:
    pack.add("a", Shape(3, 6, method="pissa"))
    for layer in lora_layers(pack.base.model, "a")[:3]:
        weight = layer.get_base_layer().weight.float()
        product = layer.scaling["a"] * layer.lora_B["a"].weight[:, :3] @ layer.lora_A["a"].weight[:3]
        exact = torch.linalg.svdvals(weight)
        assert torch.allclose(torch.linalg.svdvals(product)[:3], exact[:3], rtol=1e-3)
        assert torch.allclose(torch.linalg.svdvals(weight - product)[:3], exact[3:6], rtol=1e-2)


def test_eva_looks_along_the_directions_of_the_training_rows(pack: Pack) -> None:
    some = rows(pack.base, 4)
    pack.add("a", Shape(3, 6, method="eva"), some[:2])
    pack.add("b", Shape(3, 6, method="eva"), some[2:])
    pack.add("plain", Shape(3, 6))
    layer = lora_layers(pack.base.model, "a")[0]
    first, second = (layer.lora_A[name].weight for name in ("a", "b"))
    assert torch.allclose(first @ first.t(), torch.eye(3), atol=1e-4)
    assert not torch.allclose(first, second, atol=1e-2)
    seen: list[torch.Tensor] = []
    with layer.base_layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0])):
        pack.losses([Batch(None, some[:2])])
    kept = [(seen[0] @ layer.lora_A[name].weight.t()).norm().item() for name in ("a", "plain")]
    assert kept[0] > kept[1]
    assert kept[0] == pytest.approx(torch.linalg.svdvals(seen[0])[:3].norm().item(), rel=1e-3)


def test_lora_plus_lets_b_learn_sixteen_times_faster(pack: Pack) -> None:
    some = rows(pack.base, 7)
    plain, plus = (replace(course(some, method), epochs=1) for method in ("lora", "lora-plus"))
    steps = {one.name: fit(pack, [one], tokens_per_pass=PLENTY)[one.name].best for one in (plain, plus)}
    for key in [key for key in steps["lora"] if "lora_B" in key]:
        assert torch.allclose(steps["lora-plus"][key], 16 * steps["lora"][key], rtol=1e-2, atol=1e-5)


def test_every_word_is_known_here_or_named_as_one_that_stays_alone() -> None:
    assert set(get_args(Method)) == {*PACKED, "qlora", "adalora", "ia3", "prefix"}


ALONE: tuple[Method, ...] = ("adalora", "ia3", "prefix")


@pytest.mark.parametrize("method", ALONE)
def test_a_method_that_stays_alone_learns_saves_and_opens_in_plain_peft(
    pack: Pack, method: Method, tmp_path: Path, tiny_folder: Path
) -> None:
    some = rows(pack.base, 12)
    before = {key: value.clone() for key, value in pack.base.model.state_dict().items()}
    one = replace(course(some, method), learning_rate=3e-2)
    outcome = fit(pack, [one], tokens_per_pass=PLENTY)[method]
    assert outcome.progress.validation_losses[-1] < outcome.progress.validation_losses[0]
    assert all(torch.equal(value, before[key]) for key, value in pack.base.model.state_dict().items())
    folder = trained(pack, outcome, tmp_path / "adapter")
    assert_plain_peft_agrees(pack, method, some[0], folder, tiny_folder)


@pytest.mark.parametrize("method", ALONE)
def test_many_passes_equal_one_alone_too(pack: Pack, method: Method) -> None:
    some = rows(pack.base, 12)
    whole, cut = (fit(pack, [course(some, method)], tokens_per_pass=tokens)[method] for tokens in (PLENTY, 60))
    assert whole.progress.train_losses == pytest.approx(cut.progress.train_losses, abs=1e-3)


def test_methods_of_two_kinds_are_refused_together(pack: Pack) -> None:
    some = rows(pack.base, 12)
    with pytest.raises(AdapterError, match="cannot hang beside LORA"):
        fit(pack, [course(some, "lora"), course(some, "ia3")], tokens_per_pass=PLENTY)
    assert pack.names == []
