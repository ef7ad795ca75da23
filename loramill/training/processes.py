"""Several processes that train the same members together, one per card; ``accelerate launch`` starts them.

The base is frozen and adapters are small, so nothing is wrapped: each process takes its share of a step's rows, gradients and
losses are added up over all of them, and each takes the same optimizer step. That is DistributedDataParallel, exactly.
A base that no card can hold alone is split by layers (FSDP); its processes must then make equally many passes.

Alone, every function here gives back what it was given.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedModel

from loramill.config import Method
from loramill.errors import AdapterError, BaseModelError
from loramill.pack.base import is_split
from loramill.prompts import Row
from loramill.training.course import passes

T = TypeVar("T")
SPLITTABLE: frozenset[Method] = frozenset({"lora", "rslora", "lora-plus"})
"""Methods for which no process needs to see whole base weights outside a pass."""
PATIENCE = timedelta(hours=2)
"""How long the others wait for the main process while it draws, asks or writes. One that dies is noticed at once."""


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this is; 0 is the main one: only it reads, writes and speaks."""
    return dist.get_rank() if world() > 1 else 0


def join(*, on_cpu: bool = False) -> None:
    """Meet the other processes that ``accelerate launch`` started; each takes its own card.

    Raises:
        BaseModelError: the machine's device cannot be used by several processes.
    """
    from accelerate import PartialState

    kind = PartialState(cpu=on_cpu, timeout=PATIENCE).device.type
    if kind not in ("cuda", "cpu"):
        raise BaseModelError(
            f"several processes need CUDA cards or the CPU, not {kind!r}; write device: cpu or processes: 1"
        )


def leave() -> None:
    """Part from the others in order."""
    if dist.is_available() and dist.is_initialized():
        from accelerate import PartialState

        PartialState().destroy_process_group()


def from_main(value: T) -> T:
    """Return what the main process has."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def dismiss() -> None:
    """Tell the processes that `loramill.training.loop.follow` that nothing more is to be trained."""
    from_main(None)


def anywhere(is_so: bool) -> bool:
    """Tell whether it is so in any process."""
    return is_so if world() == 1 else bool(most(int(is_so)))


def most(value: int) -> int:
    """Return the largest value of all processes."""
    if world() == 1:
        return value
    shared = torch.tensor(value, device=_device())
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared.item())


def summed(values: Sequence[float]) -> list[float]:
    """Return each value added up over all processes."""
    if world() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(shared)
    return cast(list[float], shared.tolist())


def add_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes, in one message; a process without rows of a member adds zeros."""
    if world() == 1:
        return
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for weight, gradient in zip(parameters, flat.split([weight.numel() for weight in parameters]), strict=True):
        weight.grad = gradient.view_as(weight)


def own_passes(
    work: Iterable[tuple[str, tuple[Row, ...]]], tokens_per_pass: int
) -> Iterator[list[tuple[str, int, tuple[Row, ...]]]]:
    """Cut this process's share of a step into forward passes, as `loramill.training.course.passes` does the whole step."""
    own = list(share(list(work), rank(), world()))
    firsts = {name: first for name, first, _ in own}
    for part in passes([(name, rows) for name, _, rows in own], tokens_per_pass):
        yield [(name, firsts[name] + first, rows) for name, first, rows in part]


def own_rows(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return this process's share of some rows."""
    return next((own for _, _, own in share([("", rows)], rank(), world())), ())


def share(
    work: Sequence[tuple[str, tuple[Row, ...]]], index: int, shares: int
) -> Iterator[tuple[str, int, tuple[Row, ...]]]:
    """Cut a step into stretches of about as many tokens and yield one of them.

    A member's rows stay side by side, so few members are in two stretches. With fewer rows than shares some are empty.

    Yields:
        Member, number of its first row within the step (its dropout depends on it), and rows.
    """
    total = sum(len(row.ids) for _, rows in work for row in rows)
    before = 0
    for name, rows in work:
        own = []
        for place, row in enumerate(rows):
            if (2 * before + len(row.ids)) * shares // (2 * total) == index:
                own.append(place)
            before += len(row.ids)
        if own:
            yield name, own[0], rows[own[0] : own[-1] + 1]


def in_step(parts: Iterable[T], idle: Callable[[], None]) -> Iterator[T]:
    """Yield the passes; with a split base, make idle ones until each process has made as many as the busiest."""
    parts = list(parts)
    missing = most(len(parts)) - len(parts) if is_split() else 0
    yield from parts
    for _ in range(missing):
        idle()


def split(model: PreTrainedModel, methods: Sequence[Method]) -> None:
    """Give each process its part of every decoder layer, and the rest whole, on its own device; the second time do nothing.

    A layer is put together just before it is used, forward and backward, and taken apart again. Adapters that come later stay
    whole.

    Raises:
        AdapterError: a method looks at the base's weights or runs PEFT's own forward.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if unfit := sorted(set(methods) - SPLITTABLE):
        raise AdapterError(
            f"learning.method {', '.join(unfit)} needs the whole base in each process; "
            f"with --use_fsdp take one of {', '.join(sorted(SPLITTABLE))}"
        )
    decoder = model.base_model
    if isinstance(decoder, FSDPModule):
        return
    mesh = init_device_mesh(_device().type, (world(),))
    layers = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    inside = {weight for layer in layers for weight in layer.parameters()}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(decoder, mesh=mesh, ignored_params={weight for weight in model.parameters() if weight not in inside})
    for weight in model.parameters():
        weight.data = weight.data.to(_device())
    model.enable_input_require_grads()  # else the backward pass of a process may stop above layers that others wait in


def _device() -> torch.device:
    from accelerate import PartialState

    return cast(torch.device, PartialState().device)
