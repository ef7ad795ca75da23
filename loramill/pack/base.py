"""The frozen base model: found, checked, loaded once, and named by a digest of its content."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

import torch

from loramill.config import Base
from loramill.errors import BaseModelError
from loramill.pack.one_minute import make_one_minute
from loramill.reports import digest_of_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OnStep = Callable[[int, int, float], None]
WEIGHTS: Final = Path(__file__).parent / "weights"
"""The embedded base; ``README.md`` there is its card."""
HUB_SECONDS: Final = 5.0
"""How long the hub may take to answer at all."""


@dataclass(frozen=True)
class LoadedBase:
    """A base model in memory, frozen, with its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: Any
    """A transformers tokenizer; fits `loramill.prompts.Tokenizer`."""
    name: str
    """Absolute folder or hub id: what an adapter's configuration points to."""
    digest: str
    """sha256 over weights and configuration, or the hub's commit."""
    template: dict[str, bool | str]
    """Arguments of the chat template."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.device

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer: the tokenizer's own, and those of generation_config.json."""
        config = self.model.generation_config
        return token_ids(self.tokenizer.eos_token_id) | token_ids(config and config.eos_token_id)

    @property
    def repetition_penalty(self) -> float:
        """What the base's generation_config.json asks for: 1 for nothing."""
        config = self.model.generation_config
        return float((config and config.repetition_penalty) or 1.0)


def token_ids(given: Any) -> frozenset[int]:
    """Return the token ids that a configuration gives: none, one or a list."""
    return frozenset(given if isinstance(given, list) else [given] if isinstance(given, int) else [])


def find_base(base: Base, cache: Path, on_step: OnStep = lambda step, steps, loss: None) -> str:
    """Return the folder or hub id that ``base.source`` means; the one-minute base is made if need be.

    Raises:
        BaseModelError: the source is a single file, a folder that is no model, or not what ``base.revision`` pins.
    """
    source = base.source
    if source == "embedded":
        return str(_as_pinned(_checked_folder(WEIGHTS), base.revision))
    if source == "one-minute":
        return str(make_one_minute(cache.resolve(), on_step))
    path = Path(source).expanduser()
    if path.is_file():
        raise BaseModelError(
            f"base {source!r} is a single file; a base is a transformers folder (config.json, tokenizer, *.safetensors) "
            "or a hub id. Quantised single files cannot be trained here: take the folder of the unquantised model"
        )
    if path.is_dir():
        return str(_checked_folder(path))
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise BaseModelError(
            f"base {source!r} does not exist; give `embedded`, a name in conf/bases/, an existing folder, "
            "or a hub id owner/name"
        )
    return source


def load_tokenizer(base: Base, name: str) -> Any:
    """Load the tokenizer of the base that `find_base` found.

    Raises:
        BaseModelError: it cannot be had, or lacks a stop token.
    """
    from transformers import AutoTokenizer

    tokenizer = _loaded(base, name, AutoTokenizer.from_pretrained)
    if base.stop_token is not None:
        if base.stop_token not in tokenizer.get_vocab():
            raise BaseModelError(f"stop_token {base.stop_token!r} is not in the vocabulary of {name!r}")
        tokenizer.eos_token = base.stop_token
    return tokenizer


def load_base(base: Base, cache: Path, on_step: OnStep = lambda step, steps, loss: None) -> LoadedBase:
    """Load the base model frozen, in evaluation mode, on its device.

    Raises:
        BaseModelError: it does not exist, cannot be reached, brings code nobody allowed, or holds no safetensors.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    name = find_base(base, cache, on_step)
    device = find_device(base.device)
    tokenizer = load_tokenizer(base, name)
    options = {"use_safetensors": True, "dtype": _dtype(base, device), **_four_bit(base, device)}
    model = _loaded(base, name, AutoModelForCausalLM.from_pretrained, **options)
    model.requires_grad_(False)
    model.eval()
    if not base.four_bit and not is_split():
        model.to(device)
    return LoadedBase(model, tokenizer, name, base_digest(name, model), dict(base.template))


def is_split() -> bool:
    """Tell whether ``accelerate launch --use_fsdp`` wants this process to hold only a part of the base.

    It is loaded beside the card then; `loramill.training.processes.split` takes each layer's part onto it.
    """
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" and int(os.environ.get("WORLD_SIZE", "1")) > 1


def base_digest(name: str, model: "PreTrainedModel | None" = None) -> str:
    """Return sha256 over the weights, configuration and tokenizer of a folder, or the commit of a hub model."""
    folder = Path(name)
    if not folder.is_dir():
        commit = getattr(model.config, "_commit_hash", None) if model is not None else None
        return str(commit or hashlib.sha256(name.encode()).hexdigest())
    kinds = {".safetensors", ".json", ".model", ".jinja", ".txt"}
    files = [path for path in sorted(folder.iterdir()) if path.suffix in kinds]
    lines = [f"{path.name}:{_remembered_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _remembered_digest(path: Path, known: dict[tuple[str, int, int], str] = {}) -> str:  # noqa: B006 - the memory
    """Hash a file once per process as long as its size and time stay the same."""
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    if key not in known:
        known[key] = digest_of_file(path)
    return known[key]


def _checked_folder(path: Path) -> Path:
    config = path / "config.json"
    if not config.is_file():
        raise BaseModelError(
            f"base folder {str(path)!r} has no config.json; give the folder that holds the model itself"
        )
    if not any(path.glob("*.safetensors")):
        raise BaseModelError(f"base folder {str(path)!r} holds no *.safetensors; pickled weights are never opened")
    return path.resolve()


def _as_pinned(folder: Path, digest: str | None) -> Path:
    """Refuse an embedded base other than the one that was measured: a checkout may have changed line ends, a copy been cut."""
    found = base_digest(str(folder))
    if digest not in (None, found):
        raise BaseModelError(
            f"the embedded base in {str(folder)!r} has digest {found[:12]}, its file in conf/bases/ pins {str(digest)[:12]}: "
            "a file was changed or damaged; bring it back (`git checkout loramill/pack/weights`, or install loramill again)"
        )
    return folder


def _loaded(base: Base, name: str, load: Callable[..., Any], **options: Any) -> Any:
    from safetensors import SafetensorError

    options |= {"local_files_only": not Path(name).is_dir() and not _hub_answers()}
    try:
        return load(name, revision=base.revision or "main", trust_remote_code=base.trust_remote_code, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise BaseModelError(_why_not(base, name, error)) from error


def _hub_answers() -> bool:
    """Ask the hub once and shortly: its client tries for minutes before it takes what was downloaded earlier."""
    from huggingface_hub.constants import ENDPOINT

    if _is_offline():
        return False
    try:
        with urlopen(ENDPOINT, timeout=HUB_SECONDS):  # noqa: S310 - the address of the user's own settings
            return True
    except HTTPError:
        return True  # it answers, if only to refuse this page
    except OSError:
        return False


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE") not in (None, "", "0")


def _why_not(base: Base, name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return (
            f"base {name!r} brings Python code of its own, which is not run unless trust_remote_code: true stands in its file "
            "in conf/bases/. Read that code first"
        )
    if "safetensors" in str(error):
        return f"base {name!r} has no *.safetensors weights, and pickled ones are never opened ({reason})"
    if Path(name).is_dir():
        return f"base folder {name!r} cannot be loaded: {reason}"
    offline = " (HF_HUB_OFFLINE is set)" if _is_offline() else ""
    return (
        f"base {base.source!r} is no folder here and the hub did not give it{offline}: {reason.rstrip('.')}. "
        "Check the name and the network, or download it and write its folder as base"
    )


def find_device(wanted: str) -> torch.device:
    """Return the device that ``wanted`` means.

    Raises:
        BaseModelError: this machine has none of that kind.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there[wanted]:
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise BaseModelError(f"device {wanted!r} is not on this machine (it has: {found}); write device: auto")
    return torch.device(wanted)


def _four_bit(base: Base, device: torch.device) -> dict[str, Any]:
    """Return transformers' options for 4-bit weights, none if they are not wanted.

    Raises:
        BaseModelError: the machine or the environment cannot hold them.
    """
    if not base.four_bit:
        return {}
    if device.type != "cuda" or find_spec("bitsandbytes") is None:
        raise BaseModelError(
            "4-bit weights (learning.method: qlora, or four_bit: true in the base's file) need a CUDA device and "
            f"`pip install bitsandbytes`; the device here is {device.type!r}. learning.method: lora runs everywhere"
        )
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantised, "device_map": {"": device}}


def _dtype(base: Base, device: torch.device) -> torch.dtype:
    if base.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[base.dtype]
