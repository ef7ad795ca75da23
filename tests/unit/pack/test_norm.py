"""Norms as one node of autograd, against the model's own."""

import pytest
import torch
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from loramill.pack.norm import lean_norms


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm])
def test_output_and_gradient_are_the_models_own(kind: type[torch.nn.Module]) -> None:
    chance = torch.Generator().manual_seed(0)
    norm = kind(16).requires_grad_(requires_grad=False)
    norm.weight.copy_(torch.rand(16, generator=chance) + 0.5)
    x = torch.randn(2, 5, 16, generator=chance, requires_grad=True)
    above = torch.randn(2, 5, 16, generator=chance)
    found = [(out := way(x), *torch.autograd.grad(out, x, above)) for way in (norm, lean_norms(norm)[norm])]
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_norm_that_computes_something_else_keeps_its_own_forward() -> None:
    assert not lean_norms(GemmaRMSNorm(16))


def test_half_precision_keeps_its_own_forward() -> None:
    """There the model works in float32 inside, which this form does not."""
    assert not lean_norms(LlamaRMSNorm(16).bfloat16())
