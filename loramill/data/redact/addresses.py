"""Postal addresses: a road, village or estate with a number, and everything around it that belongs to it.

The search starts from the number ("路88号"), which is rare, and grows both ways; a province or city alone is no address.
"""

import re
from collections.abc import Iterator
from typing import Final

from loramill.data.redact.spans import LATIN, Span

_NUMBERED: Final = re.compile("[0-9一二三四五六七八九十](?:号|弄|栋|幢|座|组)")
_COUNT: Final = "[0-9A-Za-z一二三四五六七八九十百甲乙丙]"
_CORE: Final = re.compile(
    r"(?P<road>大道|[路街巷弄]|胡同|村|屯|小区|花园|家园|公寓|大厦|新村|社区|[里区])"
    r"(?:[东西南北中一二三四五六七八九十]{1,3}[段路区里])?\s?"
    r"[0-9一二三四五六七八九十]{1,6}(?:-\d{1,4})?(?P<unit>号楼|号院|号|弄|栋|幢|座|组)(?![线令文公告店馆])"
)
_MORE: Final = re.compile(
    rf"(?:\s?(?:[\u4e00-\u9fff]{{2,8}}(?:园|大厦|广场|公寓|小区|花园|苑)(?:[A-Z]区)?)?"
    rf"{_COUNT}{{1,6}}(?:号楼|号院|号|弄|栋|幢|单元|楼|层|室|座|组|房)){{1,6}}|[甲乙丙丁](?![\u4e00-\u9fff])"
)
_LAST: Final = re.compile(r"\s?\d{2,5}(?![\d元个年月日%.,号])")
_LEFT: Final = re.compile(r"[\u4e00-\u9fff0-9]{0,36}$")
_CUE: Final = re.compile(
    r".*(?:[在到是于给为住寄送我]|(?<!解)放|租的|搬去|前往|发往|地址|[籍所]地|老家|被告|原告|位置|[将号的]|途经|行至|购得|名下)(?:家|的)?"
)
_PROVINCE: Final = re.compile(
    "(?:北京|上海|天津|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|"
    "陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆)(?:[省市]|[壮回维].{1,3}自治区|自治区)"
)
_NO_ROAD: Final = re.compile(r"(?:道|公|铁|线|马|电|思|高速|一|半|网|出|套|水|通|管|走)路$|本小区$|国道$|省道$")
_ESTATE: Final = re.compile("[里区]")

_STREET: Final = re.compile(
    r"(?<![\w.$-])\d{1,6}[A-Z]? (?:[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Terrace|Crescent|Close)\b\.?"
    r"(?:,? (?:Apt|Apartment|Suite|Unit|Flat|Room)\.? ?#?\w{1,5})?(?:, [A-Z][a-z]+(?: [A-Z][a-z]+){0,2})?"
    r"(?:,? [A-Z]{2}\b)?(?: \d{5}(?:-\d{4})?\b)?"
)


def addresses(text: str) -> Iterator[Span]:
    """Find addresses that lead to a door, in Chinese and English order."""
    for core in _CORE.finditer(text) if _NUMBERED.search(text) else ():
        start = _start(text, core)
        if start is not None:
            yield Span(start, _end(text, core.end()), "address")
    if LATIN.search(text):
        yield from (Span(*_without_dot(found), "address") for found in _STREET.finditer(text))


def _start(text: str, core: re.Match[str]) -> int | None:
    """Return where the address begins, or nothing if what stands before is no name of a place."""
    if _ESTATE.fullmatch(core["road"]) and core["unit"] not in ("号楼", "栋", "幢"):
        return None
    left = _LEFT.search(text, max(0, core.start() - 36), core.start())
    name = left[0] if left else ""
    if cue := _CUE.match(name):
        name = name[cue.end() :]
    if province := _PROVINCE.search(name):
        name = name[province.start() :]
    whole = name + core["road"]
    return None if len(name) < 2 or _NO_ROAD.search(whole) else core.start() - len(name)


def _end(text: str, end: int) -> int:
    for pattern in (_MORE, _LAST):
        if found := pattern.match(text, end):
            end = found.end()
    return end


def _without_dot(found: re.Match[str]) -> tuple[int, int]:
    return found.start(), found.end() - found[0].endswith(".")
