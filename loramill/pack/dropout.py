"""Dropout as a pure function of (member's seed, step, row, position, layer, feature).

No generator has a state here. So a member drops the same inputs alone and in a pack, in one pass and in many, in the first
forward and in a recomputed one, and after a resume as without one: nothing needs to be saved.

The mixing steps are the finaliser of Murmur3 on 32-bit integers, whose products wrap around.
"""

import torch
from torch import Tensor

_FIRST, _SECOND = -2048144789, -1028477387  # 0x85EBCA6B and 0xC2B2AE35 as signed 32-bit numbers
_GOLDEN = -1640531527  # 0x9E3779B9


def token_keys(seed: int, step: int, rows_N: Tensor, positions_N: Tensor) -> Tensor:
    """Return one 32-bit key per token."""
    start = torch.tensor([_wrapped(seed * 0x9E3779B1 + step * 0x85EBCA77)], dtype=torch.int32, device=rows_N.device)
    keys = _mixed(start ^ (rows_N.to(torch.int32) * _GOLDEN))
    return _mixed(keys ^ positions_N.to(torch.int32))


def keep_mask(keys_N: Tensor, layer: int, features: int, share: float) -> Tensor:
    """Return which of (N, features) inputs stay when ``share`` of them is dropped, to the nearest 1/65536.

    Each 32-bit number gives two draws of 16 bits.
    """
    per_layer = _mixed(keys_N ^ _wrapped(layer * 0x9E3779B1 + 0x165667B1))
    counter = torch.arange((features + 1) // 2, dtype=torch.int32, device=keys_N.device) * _GOLDEN
    drawn = _mixed(per_layer[:, None] ^ counter).view(torch.int16)[:, :features]
    return drawn >= min(round(share * 65536), 65535) - 32768


def _mixed(numbers: Tensor) -> Tensor:
    mixed = numbers ^ ((numbers >> 16) & 0xFFFF)
    mixed *= _FIRST
    mixed ^= (mixed >> 13) & 0x7FFFF
    mixed *= _SECOND
    mixed ^= (mixed >> 16) & 0xFFFF
    return mixed


def _wrapped(number: int) -> int:
    """Fold an integer into the signed 32-bit range."""
    return (number + 2**31) % 2**32 - 2**31
