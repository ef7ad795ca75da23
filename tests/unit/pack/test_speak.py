from collections.abc import Callable

import pytest
import torch

from loramill.pack.greedy import Prompt, continue_all, with_penalty
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.speak import Asked, answer, answers
from loramill.prompts import prompt_ids
from tests.factories import records, tiny_base
from tests.unit.conftest import MakeAdapter

MEMBERS = (None, "law", "shop")
NEVER = -1
NO_STOP: tuple[int, ...] = ()
LONGEST = 16


def quiet(number: int, token: int) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def crowd(pack: Pack, make_adapter_once: MakeAdapter) -> Pack:
    """A base with two adapters."""
    for seed, name in enumerate(("law", "shop"), start=1):
        pack.load(name, make_adapter_once(name, seed=seed))
    return pack


@pytest.fixture(scope="module")
def make_adapter_once(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> MakeAdapter:
    from tests.unit import conftest

    return conftest.make_adapter.__wrapped__(pack, tmp_path_factory.mktemp("adapters"))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def prompts(crowd: Pack) -> list[Prompt]:
    """The same questions of unequal length for every member."""
    asked = [tuple(prompt_ids(crowd.base.tokenizer, row.asked, {})) for row in records(3)]
    assert len({len(ids) for ids in asked}) > 2
    return [Prompt(member, ids) for ids in asked for member in MEMBERS]


def by_transformers(pack: Pack, prompt: Prompt) -> list[int]:
    ids = torch.tensor([prompt.ids])
    with pack.speaking(prompt.member) as model, torch.inference_mode():
        # no stop token: -1 never comes
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST, do_sample=False, eos_token_id=NEVER
        )
    return list(output[0, ids.shape[1] :].tolist())


def test_many_at_once_say_what_transformers_lets_each_say_alone(crowd: Pack, prompts: list[Prompt]) -> None:
    together = continue_all(crowd, prompts, LONGEST, NO_STOP, quiet)
    assert together == [by_transformers(crowd, prompt) for prompt in prompts]
    assert len({tuple(ids) for ids in together}) > len(MEMBERS)  # neither member nor question is without effect


def test_a_base_that_asks_for_it_repeats_itself_less_here_as_in_transformers(
    crowd: Pack, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    freely = continue_all(crowd, prompts, LONGEST, NO_STOP, quiet)
    monkeypatch.setattr(crowd.base.model.generation_config, "repetition_penalty", 4.0)  # random weights insist
    held_back = continue_all(crowd, prompts, LONGEST, NO_STOP, quiet)
    assert held_back == [by_transformers(crowd, prompt) for prompt in prompts]
    assert sum(map(len, map(set, held_back))) > sum(map(len, map(set, freely)))
    stop = held_back[0][LONGEST // 2]  # some leave early, and each still remembers its own words
    cut = continue_all(crowd, prompts, LONGEST, (stop,), quiet)
    assert cut == [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in held_back]


def test_the_penalty_is_worked_out_in_float32_as_transformers_does() -> None:
    """In bfloat16 both would be 18.25, and the lower id would win."""
    logits_RV = torch.tensor([[18.25, 20.125]], dtype=torch.bfloat16)
    said_RV = torch.tensor([[False, True]])
    assert with_penalty(logits_RV, said_RV, 1.1).argmax(-1).item() == 1


def test_each_ends_at_its_own_stop_and_the_others_go_on_as_before(crowd: Pack, prompts: list[Prompt]) -> None:
    whole = continue_all(crowd, prompts, LONGEST, NO_STOP, quiet)
    everywhere = sorted({token for ids in whole for token in ids})
    ends = {token: {ids.index(token) for ids in whole if token in ids} for token in everywhere}
    stop = max(ends, key=lambda token: len(ends[token]))
    assert len(ends[stop]) > 1, "no token ends several answers at different places"
    heard: list[tuple[int, int]] = []
    cut = continue_all(crowd, prompts, LONGEST, (stop,), lambda number, token: heard.append((number, token)))
    assert cut == [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in whole]
    assert [[token for number, token in heard if number == own] for own in range(len(prompts))] == cut


def test_any_stop_token_of_the_base_ends_an_answer(
    crowd: Pack, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several bases name more than their tokenizer does, as the embedded one its end of text."""
    whole = continue_all(crowd, prompts, LONGEST, NO_STOP, quiet)[0]
    further = next(token for token in whole if token != crowd.base.tokenizer.eos_token_id)
    monkeypatch.setattr(crowd.base.model.generation_config, "eos_token_id", [further])
    assert crowd.base.stops == {further, crowd.base.tokenizer.eos_token_id}
    cut = continue_all(crowd, prompts[:1], LONGEST, crowd.base.stops, quiet)[0]
    assert cut == whole[: whole.index(further) + 1]


@pytest.mark.parametrize("tokens_at_once", [10**6, 100])
def test_answers_do_not_depend_on_how_many_share_a_pass(crowd: Pack, tokens_at_once: int) -> None:
    asked = [Asked(member, row.asked) for row in records(2) for member in MEMBERS]
    counts: list[int] = []
    said = answers(crowd, asked, 4, tokens_at_once, counts.append)
    assert [each.text for each in said] == [answer(crowd, each.member, each.messages, 4) for each in asked]
    assert sum(counts) == len(asked)
    assert (len(counts) == 1) == (tokens_at_once == 10**6)


def test_an_answer_tells_whether_it_ended_by_itself(crowd: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = crowd.base.tokenizer.eos_token_id
    spoken = [[5, 6, stop], [5, 6, 7]]
    monkeypatch.setattr("loramill.pack.speak.continue_all", lambda *_: spoken)
    asked = [Asked(None, row.asked) for row in records(2)]
    assert [each.stopped for each in answers(crowd, asked, 3, 10**6)] == [True, False]


def test_nobody_asked_says_nothing(crowd: Pack) -> None:
    assert answers(crowd, [], 3, 100) == []


def test_methods_that_share_no_pass_answer_one_after_the_other(tiny_folder: Callable[..., object]) -> None:
    pack = Pack(tiny_base(tiny_folder))  # type: ignore[arg-type]
    pack.add("scaled", Shape(2, 4, method="ia3"))
    asked = [Asked(member, row.asked) for row in records(2) for member in (None, "scaled")]
    said = [each.text for each in answers(pack, asked, 5, 10**6)]
    assert said[0] == said[1]  # it has learnt nothing yet
    assert said == [answer(pack, each.member, each.messages, 5) for each in asked]
