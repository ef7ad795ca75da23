"""What stands in a personal value's place: 〔电话1〕 in Chinese text, [PHONE_1] in other text.

The kind stays readable, so that a model learns what stood there; no tokenizer splits it into characters it lacks, and no
template engine takes it for a variable.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from loramill.config import PersonalKind
from loramill.data.redact.spans import HAN, plain

_CHINESE: Final[dict[PersonalKind, str]] = {
    "phone": "电话",
    "id_card": "身份证号",
    "bank_card": "银行卡号",
    "email": "邮箱",
    "address": "地址",
    "plate": "车牌",
    "name": "姓名",
    "contract_amount": "合同金额",
    "chat_account": "社交账号",
}
PLACEHOLDER: Final = re.compile(
    rf"〔(?P<label>{'|'.join(_CHINESE.values())})(?P<number>\d+)〕"
    rf"|\[(?P<english>{'|'.join(kind.upper() for kind in _CHINESE)})_(?P<count>\d+)\]"
)
_NATIONAL_PREFIX: Final = re.compile(r"^(?:\+|00)?86(?=1\d{10}$)")


@dataclass
class Placeholders:
    """The placeholders of one record; it lives as long as the call that redacts, and nothing writes it down."""

    is_chinese: bool
    taken: Counter[str] = field(default_factory=Counter)
    """Highest number in use, by label."""
    by_value: dict[tuple[PersonalKind, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: list[str]) -> "Placeholders":
        """Begin for a record: in its language, after the placeholders that it already holds."""
        taken: Counter[str] = Counter()
        for found in (found for text in texts for found in PLACEHOLDER.finditer(text)):
            label = found["label"] or found["english"]
            taken[label] = max(taken[label], int(found["number"] or found["count"]))
        return cls(any(re.search(HAN, text) for text in texts), taken)

    def name(self, kind: PersonalKind, value: str) -> str:
        """Return the placeholder of a value, the same for each way to write it."""
        key = (kind, _key(kind, value))
        if key not in self.by_value:
            label = _CHINESE[kind] if self.is_chinese else kind.upper()
            self.taken[label] += 1
            number = self.taken[label]
            self.by_value[key] = f"〔{label}{number}〕" if self.is_chinese else f"[{label}_{number}]"
        return self.by_value[key]


def _key(kind: PersonalKind, value: str) -> str:
    if kind == "phone":
        return _NATIONAL_PREFIX.sub("", re.sub(r"[^+\d]", "", plain(value))) or value
    if kind in ("name", "chat_account"):
        return value
    return re.sub(r"[\s·•.-]" if kind == "plate" else r"[\s-]", "", plain(value)).casefold()
