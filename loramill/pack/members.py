"""The members of a pack: LoRA adapters that share one base, stored and exported by PEFT.

`Pack` is the only thing here with a state: which adapters hang on the base just now.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor, nn

from loramill.errors import AdapterError
from loramill.pack.alone import ALONE, KINDS, after_step, alone_config, penalty, plain_losses, whole_ranks
from loramill.pack.base import LoadedBase
from loramill.pack.forward import Draw, check_packed_forward, token_losses
from loramill.pack.manifest import Manifest, check_base, read_manifest
from loramill.pack.methods import CARRIED, Shape, carry_first_product, explained_variance, peft_config
from loramill.pack.plan import Limits
from loramill.pack.rows import Batch, pack_rows
from loramill.prompts import Row
from loramill.reports import read_json, write_json


class Pack:
    """One frozen base and the adapters on it.

    Raises:
        BaseModelError: the base's architecture cannot be packed exactly.
    """

    def __init__(self, base: LoadedBase, limits: Limits | None = None) -> None:
        self.base = base
        self.limits = limits or Limits()
        """What a training's memory plan obeys."""
        self.checkpointing = False
        """Whether decoder layers are computed again in the backward pass; it changes time and memory, no number."""
        self._peft: PeftModel | None = None
        check_packed_forward(base.model, pack_rows([Batch(None, _probe(base))], base.device))

    @property
    def names(self) -> list[str]:
        """The adapters that hang on the base."""
        return sorted(self._peft.peft_config) if self._peft is not None else []

    def add(self, name: str, shape: Shape, rows: Sequence[Row] = (), steps: int = 1000) -> None:
        """Hang a fresh adapter on the base; its first weights depend on its shape and seed alone.

        Args:
            name: the member's name.
            shape: what it is.
            rows: training rows, for the method whose first weights depend on them (EVA).
            steps: optimizer steps to come, for the method that plans by them (AdaLoRA).

        Raises:
            AdapterError: the base has none of the target modules, or members of another kind hang on it.
        """
        is_alone = shape.method in ALONE
        config = alone_config(shape, self.base.name, steps) if is_alone else peft_config(shape, self.base.name)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(shape.seed)
                self._hang(name, config)
                if shape.method in CARRIED:
                    carry_first_product(self._model(), name, shape)
                if shape.method == "eva" and rows:
                    explained_variance(lambda batch: self.losses([batch]), self._model(), name, rows)
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
        check_base(manifest, self.base, folder)
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = False
        self._hang(name, config)
        self.set_weights(name, load_peft_weights(str(folder), device="cpu"))
        return manifest

    def remove(self, name: str) -> None:
        """Take an adapter off the base."""
        with _peft_warnings_off():
            if self.names == [name]:
                if not self._model().active_peft_config.is_prompt_learning:
                    self._model().unload()  # the base is a plain model again
                self._peft = None
                return
            self._model().delete_adapter(name)
        self._activate(self.names[0])

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return a copy of an adapter's weights under PEFT's own names."""
        return {key: value.detach().cpu().clone() for key, value in self._state(name).items()}

    def set_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Overwrite an adapter's weights.

        Raises:
            AdapterError: they are another adapter's.
        """
        here = {key: value.shape for key, value in self._state(name).items()}
        if here != {key: value.shape for key, value in weights.items()}:
            raise AdapterError(f"these weights do not fit adapter {name!r}: other layers, or another rank")
        with whole_ranks(self._model().peft_config[name]):
            set_peft_model_state_dict(self._model(), dict(weights), adapter_name=name)

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """Return an adapter's trainable parameters by their names in the model, always in the same order."""
        return {key: weight for key, weight in self._own_weights() if name in key.split(".")}

    def losses(self, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        """Return, for each batch, the loss of each of its targets (nats): all from one pass, if their methods allow it."""
        if self.is_alone:
            return [self._losses_alone(batch) for batch in batches]
        rows = pack_rows(batches, self.base.device)
        losses_T = token_losses(self.base.model, rows, draws or {}, checkpointing=self.checkpointing)
        return [losses_T[segment.first_target : segment.last_target] for segment in rows.segments]

    def penalty(self, name: str) -> Tensor | None:
        """Return what the member's method adds to its loss in training, if anything."""
        return penalty(self._model(), name) if self.is_alone else None

    def after_step(self, name: str, step: int) -> None:
        """Let the member's method look at the gradients of the step just taken (counted from 1)."""
        if self.is_alone:
            after_step(self._model(), name, step)

    @contextmanager
    def speaking(self, name: str | None) -> Iterator[Any]:
        """Give the transformers model that generates with one adapter, or as the bare base."""
        if name is not None:
            self._activate(name)
            yield self._model() if self._model().active_peft_config.is_prompt_learning else self.base.model
            return
        with self._model().disable_adapter() if self.names else _nothing():
            yield self.base.model
        if self.names:
            self._let_learn()  # PEFT wakes the active adapter only

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

    def _state(self, name: str) -> dict[str, Tensor]:
        with whole_ranks(self._model().peft_config[name]):
            return cast(dict[str, Tensor], get_peft_model_state_dict(self._model(), adapter_name=name))

    def _hang(self, name: str, config: PeftConfig) -> None:
        kinds = {_kind(here.peft_type) for here in self._model().peft_config.values()} if self.names else set()
        if kinds - {_kind(config.peft_type)}:
            raise AdapterError(
                f"{name!r} is made by {_kind(config.peft_type)}, which cannot hang beside {', '.join(sorted(kinds))}; "
                "load it on a base of its own"
            )
        with _peft_warnings_off():
            if self._peft is None:
                self._peft = cast(PeftModel, get_peft_model(self.base.model, config, adapter_name=name))
            else:
                self._peft.add_adapter(name, config)
        self.base.model.eval()
        self._model().eval()
        self._let_learn()

    @property
    def is_alone(self) -> bool:
        """Tell whether the members are of a method that shares no pass."""
        return bool(self.names) and _kind(self._model().active_peft_config.peft_type) in KINDS

    def _losses_alone(self, batch: Batch) -> Tensor:
        if batch.member is not None:
            self._activate(batch.member)
            return plain_losses(self._model(), batch.rows)
        with self._model().disable_adapter():
            losses = plain_losses(self._model(), batch.rows)
        self._let_learn()
        return losses

    def _activate(self, name: str) -> None:
        """Make one adapter the one that PEFT's own forward uses; the packed forward does not care."""
        self._model().set_adapter(name)
        self._let_learn()

    def _let_learn(self) -> None:
        """All members may learn, the base may not; PEFT freezes every adapter but the active one."""
        self._model().requires_grad_(False)
        for _, weight in self._own_weights():
            weight.requires_grad_(True)

    def _own_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield all members' weights by name; AdaLoRA's counts of ranks are none."""
        names = set(self.names)
        for key, weight in self._model().named_parameters():
            if not names.isdisjoint(key.split(".")) and "ranknum" not in key:
                yield key, weight

    def _model(self) -> PeftModel:
        assert self._peft is not None, "the pack has no member yet"
        return self._peft


def _sort_targets(path: Path) -> None:
    """PEFT writes target modules in an order that differs from process to process; equal adapters get equal files."""
    content = read_json(path)
    if isinstance(content.get("target_modules"), list):
        content["target_modules"] = sorted(content["target_modules"])
    write_json(path, content)


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


def _kind(peft_type: Any) -> str:
    return str(getattr(peft_type, "value", peft_type))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _probe(base: LoadedBase) -> list[Row]:
    """Two rows of unequal length on which packing is proven."""
    size = min(base.model.config.get_text_config().vocab_size, 1000)
    return [
        Row("probe", tuple((7 * step + start) % size for step in range(length)), 1)
        for start, length in ((3, 9), (11, 14))
    ]
