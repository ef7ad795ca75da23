import numpy as np
import pytest
from pydantic import ValidationError

from loramill.config import LearningConfig, LearningRates, SearchConfig, Settings
from loramill.config.sections import Limits
from loramill.errors import ConfigError
from loramill.search.folds import fold_rows, groups_of
from loramill.search.proposals import STRIDES
from loramill.search.space import Space, grid, linear_layers, shifted
from tests.factories import records
from tests.unit.search.play import LAYERS


def space(learning: LearningConfig | None = None, **knobs: object) -> Space:
    return Space(SearchConfig(**knobs), learning or LearningConfig(), LAYERS)  # type: ignore[arg-type]


def every(one: Space) -> list[Settings]:
    return [one.ask(_Given(cell)) for cell in grid(one)]


class _Given:
    """Answers with a cell of the grid."""

    def __init__(self, cell: dict[str, object]) -> None:
        self._cell = cell

    def suggest_categorical(self, name: str, choices: object) -> object:
        return self._cell[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return float(self._cell[name])  # type: ignore[arg-type]


@pytest.mark.parametrize(("preset", "ranks"), [("tone", {4, 8}), ("terminology", {8, 16}), ("reasoning", {16, 32})])
def test_a_preset_names_the_ranks(preset: str, ranks: set[int]) -> None:
    assert {settings.rank for settings in every(space(preset=preset, rank=(64,)))} == ranks


def test_the_rate_follows_rank_and_batch() -> None:
    assert shifted(4e-3, rank=8, batch=8) == 4e-3
    assert shifted(4e-3, rank=32, batch=8) == pytest.approx(2e-3)
    assert shifted(4e-3, rank=8, batch=32) == pytest.approx(8e-3)
    some = every(space(learning_rate=LearningRates(low=4e-3, high=4e-3), rank=(8, 32)))
    assert {(one.rank, one.learning_rate) for one in some} == {(8, 4e-3), (32, 2e-3)}


def test_a_ladder_changes_rank_and_what_follows_from_it() -> None:
    one = space(rank=(32, 8))
    leader = Settings(rank=8, alpha_ratio=2.0, learning_rate=4e-3)
    assert one.ranks_of(leader) == (8, 32)
    assert one.at_rank(leader, 8) == leader
    assert one.at_rank(leader, 32) == Settings(rank=32, alpha_ratio=2.0, learning_rate=2e-3)


def test_nothing_is_tried_that_the_server_cannot_load() -> None:
    limits = Limits(max_rank=16, modules=("q_proj", "v_proj"))
    some = every(space(rank=(8, 16), method=("lora", "pissa"), limits=limits))
    assert {(one.method, one.rank) for one in some} == {("lora", 8), ("lora", 16), ("pissa", 8)}
    assert {one.target_modules for one in some} == {("q_proj", "v_proj")}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"modules": ("attention",)}, r"holds k_proj, which search\.limits\.modules does not allow"),
        ({"modules": (("gate_proj",),)}, "holds gate_proj"),
    ],
)
def test_layers_that_the_server_cannot_load_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        every(space(limits=Limits(modules=("q_proj", "v_proj")), **knobs))


def test_a_rank_that_is_exported_twice_as_large_is_refused() -> None:
    one = space(LearningConfig(method="pissa"), rank=(16,), fixed=Settings(rank=8), limits=Limits(max_rank=16))
    with pytest.raises(ConfigError, match=r"pissa exports twice its rank.*try rank 8"):
        every(one)


def test_layers_by_word_and_by_name() -> None:
    some = every(space(modules=("all-linear", "attention", ("down_proj",))))
    attention = ("k_proj", "o_proj", "q_proj", "v_proj")
    assert {one.target_modules for one in some} == {("all-linear",), attention, ("down_proj",)}


def test_what_makes_no_sense_is_not_asked() -> None:
    cells = grid(space(LearningConfig(method="ia3"), rank=(4, 8), dropout=(0.0, 0.1)))
    assert {name for cell in cells for name in cell} == {"dropout", "rate_at_rank_8"}
    assert grid(space(rank=(4,), alpha_ratio=(2.0,)))[0].keys() == {"rate_at_rank_8"}


def test_settings_go_before_what_learning_says() -> None:
    learning = LearningConfig(dropout=0.05, batch=4)
    chosen = Settings(dropout=0.0, target_modules=("q_proj",), method="dora")
    over = chosen.over(learning)
    assert (over.dropout, over.target_modules, over.method, over.batch) == (0.0, ("q_proj",), "dora", 4)
    assert Settings().over(learning) == learning


def test_the_first_trials_are_spread_evenly() -> None:
    """Each eighth of the range of rates is tried within 13 trials, from any start: the golden ratio sees to it."""
    for start in (0.0, 0.3, 0.77):
        places = np.mod(start + np.arange(13) * STRIDES[0], 1.0)
        assert set((places * 8).astype(int)) == set(range(8))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"limits": {"max_rank": 8}}, r"rank 16 exceeds limits\.max_rank \(8\)"),
        (
            {"storage": "postgresql://me:secret@host/law"},
            "storage holds a password; put the whole address into LORAMILL",
        ),
        ({"folds": 3, "trials": 0}, "folds is 3, but trials is 0"),
        ({"preset": "poetry"}, "preset"),
        ({"method": ("ia3",)}, "method"),
    ],
)
def test_a_search_that_cannot_be_is_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchConfig.model_validate(knobs)
    SearchConfig(storage="postgresql://me@host/law")


def test_folds_keep_near_duplicates_together_and_judge_every_row_once() -> None:
    some = records(18)
    rows = [row for one in some for row in (one, one)]
    groups = groups_of(rows, 0.6)
    assert all(groups[2 * place] == groups[2 * place + 1] for place in range(18))
    cut = fold_rows(groups, 3, 7)
    assert sorted(row for _, validation in cut for row in validation) == list(range(36))
    for train, validation in cut:
        assert not {groups[row] for row in train} & {groups[row] for row in validation}
        assert len(train) + len(validation) == 36
    assert cut == fold_rows(groups, 3, 7)


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.folds is 5, but the rows form 2 groups"):
        fold_rows(np.array([0, 0, 2, 2]), 5, 7)


def test_the_head_is_no_layer_of_an_adapter() -> None:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.lm_head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 9)

        def get_output_embeddings(self) -> torch.nn.Module:
            return self.lm_head

    assert linear_layers(Model()) == ("q_proj",)
