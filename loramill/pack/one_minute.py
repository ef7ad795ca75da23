"""The one-minute base: a small Llama-architecture model made on the spot, whose making a person can watch and change.

It learns everyday dialogues written for this project (``corpus/``), none of which is a row of a domain. It is cached by a
digest of its recipe: same corpus and same numbers, same folder. Its answers are hardly readable: it is what tests stand on, in
a smaller size, and what the one-minute base is measured against.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.records import Message
from loramill.reports import write_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import LlamaConfig, LlamaForCausalLM

CORPUS = Path(__file__).parent / "corpus"
COMMON_CHARACTERS = 1600
"""Characters that get a token of their own."""
SPEAKERS = {"用户": "user", "助手": "assistant"}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """Numbers that make the base; changing one makes another base."""

    vocabulary: int = 4096
    width: int = 160
    layers: int = 3
    heads: int = 5
    feed_forward: int = 448
    block: int = 192
    """Tokens of one training sequence."""
    batch: int = 6
    """Sequences per step."""
    steps: int = 260
    learning_rate: float = 3e-3
    seed: int = 20240501


def one_minute_folder(cache: Path, recipe: Recipe = Recipe()) -> Path:
    """Return where the one-minute base of this recipe lies, or will lie."""
    content = json.dumps(asdict(recipe), sort_keys=True) + TEMPLATE + _corpus_text()
    return cache / f"one-minute-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def make_one_minute(
    cache: Path,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    recipe: Recipe = Recipe(),
) -> Path:
    """Return the folder of the one-minute base; train it first if it is not cached.

    Args:
        cache: folder that holds made bases.
        on_step: called after each training step with step, number of steps, and loss (nats per token).
        recipe: the numbers.
    """
    folder = one_minute_folder(cache, recipe)
    if (folder / "model.safetensors").is_file():
        return folder
    tokenizer = train_tokenizer(recipe)
    model = _train_model(recipe, tokenizer, on_step)

    def fill(place: Path) -> None:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
        for file in place.iterdir():
            file.chmod(0o644)

    return write_folder(folder, fill)


def corpus_dialogues() -> list[list[Message]]:
    """Return the dialogues that the one-minute base learns from."""
    return [_dialogue(block) for block in _corpus_text().strip().split("\n\n")]


def _corpus_text() -> str:
    files = sorted(CORPUS.glob("*.txt"))
    assert files, f"the package lacks its corpus in {CORPUS}"
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)


def _dialogue(block: str) -> list[Message]:
    lines = (line.split("：", 1) for line in block.strip().splitlines())
    return [Message(SPEAKERS[speaker], content) for speaker, content in lines]  # type: ignore[arg-type]


def train_tokenizer(recipe: Recipe = Recipe()) -> Any:
    """Make the tokenizer alone, in a second: characters and frequent words; the bytes of a character it never saw."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Punctuation()
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=specials[:3],
        initial_alphabet=[chr(code) for code in range(32, 127)],
        show_progress=False,
    )
    texts = [message.content for dialogue in corpus_dialogues() for message in dialogue]
    raw.train_from_iterator([*_without_rare(texts), *["system user assistant\n"] * 100], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_with_bytes(raw, specials),
        **{"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def _without_rare(texts: list[str]) -> list[str]:
    """Cut texts at rare characters, which are learnt as their bytes; the trainer's own limit breaks ties at random."""
    counts = Counter("".join(texts))
    common = sorted(counts, key=lambda character: (-counts[character], character))[:COMMON_CHARACTERS]
    rare = "".join(sorted(set(counts) - set(common)))
    return [piece for text in texts for piece in (re.split(f"[{re.escape(rare)}]", text) if rare else [text]) if piece]


def _with_bytes(raw: "Tokenizer", specials: list[str]) -> "Tokenizer":
    """Put the 256 byte tokens into the vocabulary: the trainer would split ``<0x0A>`` into its characters."""
    from tokenizers import Tokenizer

    state = json.loads(raw.to_str())
    vocabulary = list(specials)
    vocabulary += [token for token, _ in sorted(state["model"]["vocab"].items(), key=lambda item: item[1])][3:]
    state["model"]["vocab"] = {token: index for index, token in enumerate(vocabulary)}
    return Tokenizer.from_str(json.dumps(state))


def _train_model(recipe: Recipe, tokenizer: Any, on_step: Callable[[int, int, float], None]) -> "LlamaForCausalLM":
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(llama_config(recipe, tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm, total = max(1, recipe.steps // 10), recipe.steps
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 1.0) * (1.0 - 0.95 * step / total)
    )
    for step, blocks in enumerate(_blocks(recipe, tokenizer), start=1):
        loss = model(input_ids=blocks, labels=blocks, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        on_step(step, total, loss.item())
    model.eval()
    return model


def llama_config(recipe: Recipe, tokenizer: Any) -> "LlamaConfig":
    """Return the shape of the one-minute base."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _blocks(recipe: Recipe, tokenizer: Any) -> Iterator["Tensor"]:
    """Yield ``steps`` batches of shape (batch, block): the dialogues in a new order each time, end to end."""
    import torch

    texts = [
        tokenizer.apply_chat_template([vars(message) for message in dialogue], tokenize=False)
        for dialogue in corpus_dialogues()
    ]
    encoded = [torch.tensor(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    order = torch.Generator().manual_seed(recipe.seed)
    size = recipe.batch * recipe.block
    stream = torch.empty(0, dtype=torch.long)
    for _ in range(recipe.steps):
        while len(stream) < size:
            epoch = torch.randperm(len(encoded), generator=order).tolist()
            stream = torch.cat([stream, *(encoded[index] for index in epoch)])
        yield stream[:size].view(recipe.batch, recipe.block)
        stream = stream[size:]
