"""The lane that needs CUDA: collected everywhere, skipped where there is none."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _cuda() -> Iterator[None]:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    yield
    torch.cuda.empty_cache()
