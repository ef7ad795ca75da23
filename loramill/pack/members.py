"""The members of a pack: LoRA adapters that share one base, stored and exported by PEFT.

`Pack` is the only thing here with a state: which adapters hang on the base just now.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor, nn

from loramill.errors import AdapterError
from loramill.pack.base import LoadedBase
from loramill.pack.forward import Draw, check_packed_forward, token_losses
from loramill.pack.manifest import Manifest, read_manifest
from loramill.pack.rows import Batch, pack_rows
from loramill.prompts import Row
from loramill.reports import read_json, write_json


@dataclass(frozen=True)
class Shape:
    """What an adapter is, before it has learnt anything."""

    rank: int
    alpha: float
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("all-linear",)
    seed: int = 0
    """Seed of its first weights."""


class Pack:
    """One frozen base and the adapters on it.

    Raises:
        BaseModelError: the base's architecture cannot be packed exactly.
    """

    def __init__(self, base: LoadedBase) -> None:
        self.base = base
        self._peft: PeftModel | None = None
        check_packed_forward(base.model, pack_rows([Batch(None, _probe(base))], base.device))

    @property
    def names(self) -> list[str]:
        """The adapters that hang on the base."""
        return sorted(self._peft.peft_config) if self._peft is not None else []

    def add(self, name: str, shape: Shape) -> None:
        """Hang a fresh adapter on the base; its first weights depend on its seed alone.

        Raises:
            AdapterError: the base has none of the target modules.
        """
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=cast(int, shape.alpha),
            lora_dropout=shape.dropout,
            target_modules=_targets(shape.target_modules),
            task_type="CAUSAL_LM",
            base_model_name_or_path=self.base.name,
        )
        try:
            with torch.random.fork_rng():
                torch.manual_seed(shape.seed)
                self._hang(name, config)
        except ValueError as error:
            raise AdapterError(
                f"target_modules {list(shape.target_modules)} do not fit {self.base.name!r}: {error}"
            ) from error

    def load(self, name: str, folder: Path) -> Manifest:
        """Hang a stored adapter on the base, after its manifest agreed with its files and with the base.

        Raises:
            AdapterError: the folder is no adapter, was changed, or was trained on another base.
        """
        manifest = read_manifest(folder)
        if manifest.base_digest != self.base.digest:
            raise AdapterError(
                f"adapter {str(folder)!r} was trained on base {manifest.base} (digest {manifest.base_digest[:12]}), "
                f"this base is {self.base.name} (digest {self.base.digest[:12]}); train it again on this base"
            )
        config = LoraConfig.from_pretrained(str(folder))
        config.inference_mode = False
        self._hang(name, config)
        self.set_weights(name, load_peft_weights(str(folder), device="cpu"))
        return manifest

    def remove(self, name: str) -> None:
        """Take an adapter off the base."""
        with _peft_warnings_off():
            if self.names == [name]:
                self._model().unload()  # the base is a plain model again
                self._peft = None
                return
            self._model().delete_adapter(name)
        self._activate(self.names[0])

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return a copy of an adapter's weights under PEFT's own names."""
        state = get_peft_model_state_dict(self._model(), adapter_name=name)
        return {key: value.detach().cpu().clone() for key, value in state.items()}

    def set_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Overwrite an adapter's weights.

        Raises:
            AdapterError: they are another adapter's.
        """
        here = get_peft_model_state_dict(self._model(), adapter_name=name)
        if {key: value.shape for key, value in here.items()} != {key: value.shape for key, value in weights.items()}:
            raise AdapterError(f"these weights do not fit adapter {name!r}: other layers, or another rank")
        set_peft_model_state_dict(self._model(), dict(weights), adapter_name=name)

    def parameters(self, name: str) -> list[nn.Parameter]:
        """Return an adapter's trainable parameters, always in the same order."""
        model = self._model()
        return [weight for key, weight in model.named_parameters() if f".{name}." in key]

    def losses(self, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        """Return, for each batch, the loss of each of its targets (nats), all from one forward pass."""
        rows = pack_rows(batches, self.base.device)
        losses_T = token_losses(self.base.model, rows, draws or {})
        return [losses_T[segment.first_target : segment.last_target] for segment in rows.segments]

    @contextmanager
    def speaking(self, name: str | None) -> Iterator[Any]:
        """Give the transformers model that generates with one adapter, or as the bare base."""
        if name is not None:
            self._activate(name)
            yield self.base.model
            return
        with self._model().disable_adapter() if self.names else _nothing():
            yield self.base.model

    def save(self, name: str, folder: Path) -> None:
        """Write an adapter as PEFT does, straight into ``folder``: it opens with ``PeftModel.from_pretrained``."""
        self._activate(name)
        with _peft_warnings_off():
            self._model().save_pretrained(str(folder), selected_adapters=[name])
        inner = folder / name
        for file in inner.iterdir() if inner.is_dir() else ():
            file.rename(folder / file.name)
        if inner.is_dir():
            inner.rmdir()
        (folder / "README.md").unlink(missing_ok=True)
        _sort_targets(folder / "adapter_config.json")
        for file in folder.iterdir():
            file.chmod(0o644)

    def _hang(self, name: str, config: LoraConfig) -> None:
        with _peft_warnings_off():
            if self._peft is None:
                self._peft = cast(PeftModel, get_peft_model(self.base.model, config, adapter_name=name))
            else:
                self._peft.add_adapter(name, config)
        self.base.model.eval()
        self._let_learn()

    def _activate(self, name: str) -> None:
        """Make one adapter the one that PEFT's own forward uses; the packed forward does not care."""
        self._model().set_adapter(name)
        self._let_learn()

    def _let_learn(self) -> None:
        """All members may learn, the base may not; PEFT freezes every adapter but the active one."""
        for key, weight in self._model().named_parameters():
            weight.requires_grad_("lora_" in key)

    def _model(self) -> PeftModel:
        assert self._peft is not None, "the pack has no member yet"
        return self._peft


def _sort_targets(path: Path) -> None:
    """PEFT writes target modules in an order that differs from process to process; equal adapters get equal files."""
    content = read_json(path)
    if isinstance(content.get("target_modules"), list):
        content["target_modules"] = sorted(content["target_modules"])
    write_json(path, content)


def shape_of(manifest: Manifest) -> Shape:
    """Return the shape of a stored adapter."""
    return Shape(**{**manifest.shape, "target_modules": tuple(manifest.shape["target_modules"])})


def shape_facts(shape: Shape) -> dict[str, Any]:
    """Return a shape as plain values for a manifest."""
    return {**asdict(shape), "target_modules": list(shape.target_modules)}


@contextmanager
def _peft_warnings_off() -> Iterator[None]:
    """PEFT warns of adapters that come and go, which is what a pack is, and calls a deprecated name of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _targets(names: tuple[str, ...]) -> str | list[str]:
    return "all-linear" if names == ("all-linear",) else list(names)


def _probe(base: LoadedBase) -> list[Row]:
    """Two rows of unequal length on which packing is proven."""
    size = min(base.model.config.get_text_config().vocab_size, 1000)
    return [
        Row("probe", tuple((7 * step + start) % size for step in range(length)), 1)
        for start, length in ((3, 9), (11, 14))
    ]
