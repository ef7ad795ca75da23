"""Numbers in words, the same in the terminal and on the page."""

from loramill.preflight.forecast import Speed
from loramill.preflight.report import Proof


def duration(seconds: float | None) -> str:
    """Write seconds as a person would say them; an estimate needs no more than two digits."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(amount: int | None) -> str:
    """Write bytes as GB, or MB below one."""
    if amount is None:
        return "?"
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def speed_english(speed: Speed) -> str:
    """Say how the minutes are known."""
    if speed.tokens_per_second:
        return f"from the last training here: {speed.tokens_per_second:,.0f} tokens/s"
    return f"worked out from {speed.flops / 1e9:,.0f} GFLOP/s, measured now on {speed.device}: right within a factor of two"


def speed_chinese(speed: Speed) -> str:
    """Say how the minutes are known."""
    if speed.tokens_per_second:
        return f"按本机上次训练的速度：每秒 {speed.tokens_per_second:,.0f} 个词元"
    return f"按刚才在 {speed.device} 上测得的 {speed.flops / 1e9:,.0f} GFLOP/s 推算，误差在一倍以内"


def proof_english(proof: Proof, significance: float) -> str:
    """Say what the test rows can show."""
    if proof.deviations == float("inf"):
        return f"{proof.rows} test rows can prove nothing at significance {significance:g}: write more rows"
    nats = (
        f" = {proof.gain:.3f} nats per token with the spread of the last evaluation" if proof.gain is not None else ""
    )
    return (
        f"{proof.rows} test rows prove gains from {proof.deviations:.2f} standard deviations of a row's gain on{nats}"
    )


def proof_chinese(proof: Proof, significance: float) -> str:
    """Say what the test rows can show."""
    if proof.deviations == float("inf"):
        return f"{proof.rows} 行测试题在显著性 {significance:g} 下什么也证明不了：请再写一些"
    nats = f"，即每词元 {proof.gain:.3f} nats（按上次评测的离散程度）" if proof.gain is not None else ""
    return f"{proof.rows} 行测试题能证明的最小提升：逐行差值标准差的 {proof.deviations:.2f} 倍{nats}"
