"""Write the finished base: a transformers folder like any other."""

from pathlib import Path
from typing import Any

from loramill.reports import write_folder

REPETITION_PENALTY = 1.2
"""So small a model goes in circles; its generation_config.json asks whoever serves it to hold against that."""

STOPS = [2, 0]
"""The end of a turn, and of a text: before any adapter it sometimes takes the one for the other."""


def export(model: Any, tokenizer: Path, folder: Path) -> Path:
    """Write weights in bfloat16 as safetensors, configuration and tokenizer into ``folder``; return it."""
    import torch
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    known = AutoTokenizer.from_pretrained(tokenizer)
    half = model.to("cpu", torch.bfloat16)
    half.generation_config.update(repetition_penalty=REPETITION_PENALTY, eos_token_id=STOPS)

    def fill(place: Path) -> None:
        half.save_pretrained(place)
        known.save_pretrained(place)
        for file in place.iterdir():
            file.chmod(0o644)

    return write_folder(folder, fill)
