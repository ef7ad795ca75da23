"""What curves and answers say to a person who watches: warnings in plain words, each with the next move.

Pure judgement: this module knows no tracker, no model and no clock. Losses are nats per target token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median, stdev
from typing import Final, Literal

Kind = Literal["memorising", "recitation", "not learning", "unstable"]

WORSE_EPOCHS: Final = 2
"""Epochs in a row in which validation rises before it is called memorising."""
NOTABLE: Final = 0.01
"""A smaller relative change of the validation loss is no change."""
PATIENT_SHARE: Final = 0.3
"""Share of the planned steps after which something must have been learnt."""
PATIENT_STEPS: Final = 10
"""Steps below which nothing can be told from a curve."""
WINDOW: Final = 20
"""Steps that a step is compared with."""
BAND: Final = 6.0
"""Robust standard deviations above the median at which a value is a spike."""
SPIKES: Final = 2
"""So many spikes make a curve unstable; a single one is a strange row."""
PASSAGE_BYTES: Final = 90
"""UTF-8 length of a passage that no two people write by chance: 30 Chinese characters, or 90 Latin letters."""
HOUSE_STYLE: Final = 3
"""A passage that stands in so many training answers is how the house writes, not one row recited."""


@dataclass(frozen=True)
class Curves:
    """One member's training as far as it went."""

    train: Sequence[float]
    """Loss per step, from the first step on."""
    validation: Sequence[float]
    """Loss before the first step, then after each epoch."""
    steps_per_epoch: int
    steps: int
    """Steps at most."""
    learning_rate: float
    """Peak rate."""
    is_fresh: bool = True
    """Whether training began with fresh weights; one that continues an adapter has little left to learn."""
    norms: Sequence[float] = ()
    """Gradient norm per step before clipping, where it is at hand."""


def concerns(curves: Curves) -> dict[Kind, str]:
    """Return everything that a person should hear about these curves, by kind."""
    found: dict[Kind, str | None] = {
        "memorising": memorising(curves),
        "not learning": not_learning(curves),
        "unstable": unstable(curves),
    }
    return {kind: text for kind, text in found.items() if text}


def memorising(curves: Curves) -> str | None:
    """Tell whether the training loss falls while the validation loss has been rising for `WORSE_EPOCHS` epochs."""
    last, per_epoch = list(curves.validation[-WORSE_EPOCHS - 1 :]), curves.steps_per_epoch
    if len(last) <= WORSE_EPOCHS or len(curves.train) < (WORSE_EPOCHS + 1) * per_epoch:
        return None
    best = min(curves.validation)
    rises = all(after > before for before, after in pairwise(last)) and last[-1] > best * (1 + NOTABLE)
    now = fmean(curves.train[-per_epoch:])
    then = fmean(curves.train[-(WORSE_EPOCHS + 1) * per_epoch :][:per_epoch])
    if not rises or now >= then:
        return None
    return (
        f"for {WORSE_EPOCHS} epochs the training loss fell ({then:.2f} → {now:.2f}) while the validation loss rose "
        f"({last[0]:.2f} → {last[-1]:.2f}): the adapter learns rows by heart. The weights of epoch "
        f"{curves.validation.index(best)} are kept. More rows help most, then a smaller rank, more learning.dropout, "
        "or fewer train.epochs"
    )


def not_learning(curves: Curves) -> str | None:
    """Tell whether, after `PATIENT_SHARE` of the steps, neither training nor validation loss is below its start.

    The training loss must be lower by more than two standard errors of what differs from step to step.
    """
    done = len(curves.train)
    if not curves.is_fresh or done < max(PATIENT_STEPS, PATIENT_SHARE * curves.steps):
        return None
    width = max(3, min(curves.steps_per_epoch, done // 3))
    began, now = fmean(curves.train[:width]), fmean(curves.train[-width:])
    if now < began - 2 * _step_noise(curves.train) * sqrt(2 / width):
        return None
    if len(curves.validation) > 1 and min(curves.validation[1:]) < curves.validation[0] * (1 - NOTABLE):
        return None
    return (
        f"after {done} of {curves.steps} steps the training loss is {now:.2f}, it began at {began:.2f}: nothing is learnt. "
        f"Most often the learning rate is too low (it is {curves.learning_rate:.1e}, try ten times that) or the rows are "
        "not what this base's chat template makes of them (`loramill check` shows one)"
    )


def unstable(curves: Curves) -> str | None:
    """Tell whether the training loss, or the gradient's norm, leaps out of its own recent band at `SPIKES` steps."""
    for name, values in (("training loss", curves.train), ("gradient norm", curves.norms)):
        leaps = spikes(values)
        if len(leaps) >= SPIKES:
            steps = ", ".join(str(step + 1) for step in leaps[:4]) + (" …" if len(leaps) > 4 else "")
            usual = median(values[max(0, leaps[0] - WINDOW) : leaps[0]])
            return (
                f"the {name} leapt at step {steps} (from about {usual:.2f} up to "
                f"{max(values[step] for step in leaps):.2f}). A lower learning rate helps (it is "
                f"{curves.learning_rate:.1e}, try a third of that), then more learning.warmup or a larger learning.batch"
            )
    return None


def spikes(values: Sequence[float]) -> list[int]:
    """Return the indices of values that stand out above the `WINDOW` values before them.

    The band is `BAND` robust standard deviations (1.4826 x the median absolute deviation) above their median, and at least
    half of that median: on a curve without noise every step up would be a spike.
    """
    found = []
    for index in range(PATIENT_STEPS, len(values)):
        before = values[max(0, index - WINDOW) : index]
        middle = median(before)
        spread = 1.4826 * median(abs(value - middle) for value in before)
        if values[index] > middle + max(BAND * spread, 0.5 * abs(middle)):
            found.append(index)
    return found


def recitation(answer: str, known: str, training: str) -> str | None:
    """Return the longest passage of an answer that is recited from the training answers, if there is one.

    A passage of `PASSAGE_BYTES` counts if it stands in ``training``, but in fewer than `HOUSE_STYLE` places, and not in what
    the answer may well repeat.

    Args:
        answer: what the model said.
        known: question, reference and the base's own answer.
        training: all training answers, one after the other.
    """
    said, learnt, excused = (text.encode() for text in (answer, training, known))
    longest = b""
    for start in range(len(said) - PASSAGE_BYTES + 1):
        end = start + max(PASSAGE_BYTES, len(longest) + 1)
        while end <= len(said) and _is_recited(said[start:end], learnt, excused):
            longest = said[start:end]
            end += 1
    return longest.decode(errors="ignore").strip() or None


def _is_recited(passage: bytes, learnt: bytes, excused: bytes) -> bool:
    return passage not in excused and 0 < learnt.count(passage) < HOUSE_STYLE


def _step_noise(values: Sequence[float]) -> float:
    """Return the standard deviation of a step around the curve; a slow fall does not count."""
    return stdev(after - before for before, after in pairwise(values)) / sqrt(2)
