import pytest
import torch
from torch import Tensor

from loramill.pack.dropout import keep_mask, token_keys

ROWS = torch.arange(64).repeat_interleave(16)
PLACES = torch.arange(16).repeat(64)


def mask(seed: int = 1, step: int = 2, layer: int = 3, share: float = 0.5, features: int = 96) -> Tensor:
    return keep_mask(token_keys(seed, step, ROWS, PLACES), layer, features, share)


def differ(first: Tensor, second: Tensor) -> float:
    return (first != second).float().mean().item()


@pytest.mark.parametrize("share", [0.001, 0.05, 0.1, 0.5, 0.9, 0.999])
def test_the_share_is_dropped(share: float) -> None:
    dropped = 1 - mask(share=share).float()
    spread = (share * (1 - share) / dropped.numel()) ** 0.5
    assert dropped.mean().item() == pytest.approx(share, abs=4 * spread + 1 / 65536)


def test_no_feature_token_or_row_is_dropped_more_than_others() -> None:
    kept = mask().float()
    for over in (kept.mean(0), kept.mean(1), kept.view(64, -1).mean(1)):
        assert 0.3 < over.min().item() < over.max().item() < 0.7


def test_a_mask_is_the_same_every_time() -> None:
    assert torch.equal(mask(), mask())


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 3}, {"layer": 4}])
def test_another_seed_step_or_layer_drops_others(change: dict[str, int]) -> None:
    assert 0.45 < differ(mask(), mask(**change)) < 0.55  # type: ignore[arg-type]


def test_another_row_and_another_position_drop_others() -> None:
    kept = mask().view(64, 16, 96)
    assert 0.45 < differ(kept[:-1], kept[1:]) < 0.55
    assert 0.45 < differ(kept[:, :-1], kept[:, 1:]) < 0.55
    assert 0.45 < differ(kept[..., :-1], kept[..., 1:]) < 0.55


def test_a_row_is_not_the_position_of_another() -> None:
    """(row 1, position 0) and (row 0, position 1) are two draws."""
    keys = token_keys(1, 0, torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert 0.4 < differ(*keep_mask(keys, 0, 2000, 0.5)) < 0.6


def test_a_token_is_dropped_alike_in_any_company() -> None:
    whole = keep_mask(token_keys(1, 2, ROWS, PLACES), 3, 96, 0.3)
    some = torch.tensor([5, 700, 17, 1023])
    assert torch.equal(keep_mask(token_keys(1, 2, ROWS[some], PLACES[some]), 3, 96, 0.3), whole[some])


@pytest.mark.parametrize("features", [1, 2, 7, 95])
def test_any_number_of_features_is_a_beginning_of_more(features: int) -> None:
    assert torch.equal(mask(features=features), mask(features=96)[:, :features])


def test_no_share_drops_nothing_and_the_largest_nearly_all() -> None:
    assert mask(share=0.0).all()
    assert mask(share=0.99999).float().mean().item() < 0.001


def test_large_seeds_and_steps_do_not_overflow() -> None:
    assert 0.45 < differ(mask(seed=2**40), mask(seed=2**40, step=2**33)) < 0.55
