"""Say what a base is worth: held-out loss per character on each source, comparable between tokenizers; and let it answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.base.export import REPETITION_PENALTY

WINDOW = 400
"""Characters of a held-out text that are scored: the same for every base, whatever its tokenizer makes of them."""

QUESTIONS = (
    "你好，请介绍一下你自己。",
    "为什么下雨以后会有彩虹？",
    "帮我推荐一家人均消费50元左右的餐馆。",
    "高血压病人平时要注意什么？",
    "感冒了应该怎么办？",
    "什么是合同？",
    "公司拖欠工资怎么办？",
    "买的衣服不合适可以退吗？",
    "离婚的时候孩子归谁抚养？",
    "请写一段话，说说读书的好处。",
)
"""Asked of every base; none is a row of a domain."""


@dataclass(frozen=True)
class Worth:
    """What a base is worth."""

    losses: Mapping[str, float]
    """Nats per character for each source, and for ``all`` characters together."""
    answers: Sequence[str]
    """To `QUESTIONS`, in their order."""


def worth(folder: Path, texts: Mapping[str, Sequence[str]]) -> Worth:
    """Measure a base on held-out plain texts by source, and ask it `QUESTIONS`."""
    return Worth(score(folder, texts), answers(folder, QUESTIONS))


def score(folder: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return nats per character for each source, and for ``all`` characters together.

    Args:
        folder: a transformers folder.
        texts: held-out plain texts by source.
    """
    model, tokenizer = _load(folder)
    nats: dict[str, float] = {}
    characters: dict[str, int] = {}
    for source, own in texts.items():
        cut = [text[:WINDOW] for text in own]
        nats[source] = sum(_nats(model, tokenizer, text) for text in cut)
        characters[source] = sum(map(len, cut))
    per_character = {source: nats[source] / characters[source] for source in nats}
    return per_character | {"all": sum(nats.values()) / sum(characters.values())}


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _nats(model: Any, tokenizer: Any, text: str) -> float:
    """Return the surprise of a whole text behind the end-of-text token, in nats."""
    import torch

    ids = torch.tensor([[tokenizer.pad_token_id, *tokenizer.encode(text, add_special_tokens=False)]])
    with torch.inference_mode():
        logits_1TV = model(input_ids=ids).logits.float()
    return float(torch.nn.functional.cross_entropy(logits_1TV[0, :-1], ids[0, 1:], reduction="sum"))


def answers(folder: Path, questions: Sequence[str], most_tokens: int = 120) -> list[str]:
    """Return what a base answers to each question, greedily, under its own chat template."""
    model, tokenizer = _load(folder)
    said = []
    for question in questions:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(ids, max_new_tokens=most_tokens, do_sample=False, repetition_penalty=REPETITION_PENALTY)
        said.append(str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)).strip())
    return said
