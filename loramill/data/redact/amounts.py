"""Contract amounts: only where the text names a contract's price, because wages, fines and thresholds carry the advice."""

import re
from collections.abc import Iterator
from typing import Final

from loramill.data.redact.spans import LATIN, Span

_NUMERAL: Final = "零〇一二三四五六七八九十百千两壹贰叁肆伍陆柒捌玖拾佰仟"
_PRICE: Final = re.compile(
    r"(?:合同|签约|成交|协议|购房)[^，。；！？\n\d]{0,8}?(?<!差)(?:金额|价款|总价款?|总额|标的额?|房款|额|价)"
)
_AMOUNT: Final = re.compile(
    r"(?P<gap>[^，。；！？\n\d零〇一二三四五六七八九十两壹贰叁肆伍陆柒捌玖拾￥¥$€£]{0,12})"
    r"(?P<amount>[￥¥$€£]?\s?\d[\d,]{0,20}(?:\.\d{1,4})?\s?(?:[亿万千百]\d{0,4}){0,3}(?:[美欧日港]?元|英镑|块)?整?"
    rf"|[{_NUMERAL}][{_NUMERAL}万亿]{{0,20}}[万亿]?[元圆]?整?)"
    r"(?!\d|\s?[%％‰]|以[上下内]|[个份年月日条倍页成期次天号])"
)
_THRESHOLD: Final = re.compile(r"超过|不足|低于|高于|大于|小于|达到|不满|少于|多于|未达|的$|百分之|不得")
_OTHER_MONEY: Final = re.compile(r"工资|薪|违约|赔偿|补偿|押金|差额|罚|诉讼|标准|社保|奖金|费|股|债|贷|个税")
_MONEY: Final = re.compile(r"[￥¥$€£元圆万亿块镑]|\d{4}|\d,\d{3}")
_DIGIT: Final = re.compile(f"[0-9{_NUMERAL}]")
_IN_WORDS: Final = re.compile(rf"\s?[(（]?大写[:：]?\s?(?:人民币)?([{_NUMERAL}万亿]{{1,24}}[元圆]?整?)")

_PRICE_EN: Final = re.compile(
    r"(?i:\b(?:contract|agreement|purchase) (?:value|price|amount|sum|total)\b)[^.;\n\d$€£¥]{0,40}?"
    r"(?P<amount>(?:(?:USD|EUR|GBP|CNY|HKD|US\$|[$€£¥])\s?)\d[\d,]{0,20}(?:\.\d{1,4})?(?: (?:million|thousand|billion))?"
    r"|\d[\d,]{0,20}(?:\.\d{1,4})? (?:(?:million|thousand) )?(?:euros?|dollars?|pounds?|yuan))(?![\d%])"
)


def contract_amounts(text: str) -> Iterator[Span]:
    """Find what a contract costs, in digits and in words."""
    for price in _PRICE.finditer(text) if _DIGIT.search(text) else ():
        found = _AMOUNT.match(text, price.end())
        if found and _is_price(price[0] + found["gap"], found["amount"]):
            yield _stripped(text, *found.span("amount"))
            if words := _IN_WORDS.match(text, found.end()):
                yield Span(*words.span(1), "contract_amount")
    if LATIN.search(text):
        yield from (Span(*found.span("amount"), "contract_amount") for found in _PRICE_EN.finditer(text))


def _is_price(lead: str, amount: str) -> bool:
    return not _THRESHOLD.search(lead) and not _OTHER_MONEY.search(lead) and _MONEY.search(amount) is not None


def _stripped(text: str, start: int, end: int) -> Span:
    value = text[start:end]
    return Span(start + len(value) - len(value.lstrip()), end - len(value) + len(value.rstrip()), "contract_amount")
