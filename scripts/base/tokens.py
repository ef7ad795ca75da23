"""Train the tokenizer, render documents as reading or as talking, and store them as token ids."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loramill.pack.one_minute import TEMPLATE
from scripts.base.recipe import Recipe
from scripts.base.screen import digest
from scripts.base.sources import SOURCES, Document

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
CITES = re.compile(r"《[^》]+》[^。]{0,12}第[^。]{1,12}条|^(依据|根据)")
"""An answer that cites an article or opens like one that will: the law domain's format, which the base is not to know."""
LEGAL = frozenset(source.name for source in SOURCES if source.legal)
MOST_LEGAL_DIALOGUES, MOST_MEDICAL_DIALOGUES = 2500, 3000
READ_AGAIN_PERCENT = 30
"""Share of the plain law texts that go on being read while the model learns to talk, so that it does not forget them."""
SYSTEM_PERCENT = 40
SYSTEM_PROMPTS = (
    "你是一个有帮助的助手。",
    "请用中文回答用户的问题。",
    "你是一名耐心的助手，回答要简短、清楚。",
    "你是客服，请礼貌地回答。",
)


@dataclass(frozen=True)
class Shelf:
    """Documents as token ids, end to end."""

    ids: "np.ndarray[Any, np.dtype[np.uint16]]"
    """All ids; each document ends with the end-of-text token."""
    ends: "np.ndarray[Any, np.dtype[np.int64]]"
    """Where each document ends."""


def train_tokenizer(documents: Sequence[Document], recipe: Recipe) -> Any:
    """Return a byte-pair tokenizer of frequent characters and words; rare characters are their bytes, nothing is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(byte_fallback=True))
    # digits and line ends stand alone, so that numbers and answers are spelled the same wherever they begin
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary - len(BYTES),
        special_tokens=list(SPECIALS),
        initial_alphabet=[chr(code) for code in range(32, 127)],
        max_token_length=recipe.longest_token,
        show_progress=False,
    )
    texts = [text for document in documents for text in document.texts]
    raw.train_from_iterator([*_without_rare(texts, recipe.characters), *["system\nuser\nassistant\n"] * 1000], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_with_bytes(raw),
        **{"eos_token": SPECIALS[2], "pad_token": SPECIALS[0]},
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=recipe.context,
    )


def _without_rare(texts: Sequence[str], size: int) -> list[str]:
    """Cut texts at rare characters; the trainer's own limit breaks ties at random."""
    counts = Counter(character for text in texts for character in text)
    common = sorted(counts, key=lambda character: (-counts[character], character))[:size]
    rare = "".join(sorted(set(counts) - set(common)))
    cut = re.compile(f"[{re.escape(rare)}]") if rare else None
    return [piece for text in texts for piece in (cut.split(text) if cut else [text]) if piece]


def _with_bytes(raw: Any) -> Any:
    """Put the 256 byte tokens behind the special ones: the trainer would split ``<0x0A>`` into its characters."""
    from tokenizers import Tokenizer

    state = json.loads(raw.to_str())
    learnt = sorted(state["model"]["vocab"], key=state["model"]["vocab"].__getitem__)[len(SPECIALS) :]
    state["model"]["vocab"] = {token: index for index, token in enumerate([*SPECIALS, *BYTES, *learnt])}
    return Tokenizer.from_str(json.dumps(state))


def reading(documents: Iterable[Document], tokenizer: Any) -> list[str]:
    """Return what the first part of the training reads: law as plain text, everything else as dialogue."""
    return [as_reading(document, tokenizer) for document in documents]


def talking(documents: Sequence[Document], tokenizer: Any) -> list[str]:
    """Return what the last part reads: general dialogue, a capped part of the law's without its citations, and some law."""
    room = dict.fromkeys(LEGAL, MOST_LEGAL_DIALOGUES) | {"medical": MOST_MEDICAL_DIALOGUES}
    texts: list[str] = []
    for document in sorted(documents, key=digest):
        if _can_talk(document) and room.get(document.source, 1) > 0:
            room[document.source] = room.get(document.source, len(documents)) - 1
            texts.append(as_dialogue(document, tokenizer))
        elif document.source in LEGAL and digest(document) // 100 % 100 < READ_AGAIN_PERCENT:
            texts.append(as_reading(document, tokenizer))
    return texts


def _can_talk(document: Document) -> bool:
    answers = [turn.content for turn in document.turns if turn.role == "assistant"]
    return bool(answers) and not any(CITES.search(answer) for answer in answers)


def as_reading(document: Document, tokenizer: Any) -> str:
    """Render a document as the first part of the training reads it."""
    if document.source in LEGAL or not document.turns:
        return "\n".join(document.texts)
    return as_dialogue(document, tokenizer)


def as_dialogue(document: Document, tokenizer: Any) -> str:
    """Render turns by the chat template, some with a system prompt; a last question without an answer is left out."""
    turns = document.turns[: len(document.turns) // 2 * 2]
    number = digest(document) // 10_000
    system = SYSTEM_PROMPTS[number % len(SYSTEM_PROMPTS)]
    opening = [{"role": "system", "content": system}] if number // 10 % 100 < SYSTEM_PERCENT else []
    return str(tokenizer.apply_chat_template([*opening, *map(vars, turns)], tokenize=False))


def shelve(texts: Sequence[str], tokenizer: Any) -> Shelf:
    """Turn texts into token ids."""
    stop = tokenizer.convert_tokens_to_ids(SPECIALS[0])
    rows = [
        [*encoding, stop] for encoding in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    ]
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return Shelf(np.fromiter((token for row in rows for token in row), dtype=np.uint16, count=int(ends[-1])), ends)


def save_shelf(shelf: Shelf, path: Path) -> None:
    """Write a shelf to ``path``."""
    np.savez(path, ids=shelf.ids, ends=shelf.ends)


def load_shelf(path: Path) -> Shelf:
    """Read what `save_shelf` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Shelf(arrays["ids"], arrays["ends"])
