"""Numbers and accounts that reach a person: phone, ID card, bank card, e-mail, plate, WeChat and QQ.

A number counts when its check digit or its numbering plan says so, or when the text says what it is ("身份证号 …"): people
mistype their own numbers. A number that the text calls an order, tracking or serial number never counts.
"""

import re
from collections.abc import Iterator
from typing import Final

from loramill.data.redact.spans import HAN, LATIN, Span, before

_LONG_NUMBER: Final = re.compile(r"\d(?:[ ()./-]{0,2}\d){6}")
"""Nothing shorter is a phone, an ID card or a bank card: dates and amounts stop here, before the slow checks."""
_OTHER_NUMBER: Final = re.compile(
    r"(?:[单编流批序税]号|单|编号|编码|流水号?|交易号|凭证号?|发票号码?|代码|批次号?|追踪码|条形?码|序列号|专利号|信用代码"
    r"|(?i:tracking|order|invoice|serial)(?: (?:number|no\.?|id))?)[\s:：#为是]{0,3}$"
)

_ID_18: Final = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:19|20)\d\d[ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[ -]?[\dXx]"
    r"(?![0-9A-Za-z])"
)
_ID_15: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5])\d{6}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"
    r"(?![0-9A-Za-z])"
)
_SAID_ID: Final = re.compile(r"(?:身份证|身份号码|证件|证号|(?i:\bid\b))[^，。；！？\n]{0,10}$")

_CARD: Final = re.compile(r"(?<![0-9A-Za-z.])\d{4}(?:[ -]?\d){9,15}(?![0-9A-Za-z])")
_CARD_PREFIX: Final = re.compile(
    r"62\d{14,17}|9558\d{15}|4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|35\d{14}|60\d{14}|6(?:011|5\d\d)\d{12}"
)
_SAID_CARD: Final = re.compile(
    r"(?:银行卡|信用卡|储蓄卡|借记卡|工资卡|卡号|银行账[号户]|收款账[号户]|(?i:card (?:number|no\.?)))[^\d]{0,6}$"
)

_MOBILE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:\(?(?:\+|00)?86\)?[ -]{0,2})?(?!1[ -]\d{3}[ -]\d{3}[ -])1[ -]?[3-9](?:[ -]?\d){9}(?![0-9]|\.\d)"
)
_LANDLINE: Final = re.compile(
    r"(?<![0-9A-Za-z])[(（]?0\d{2,3}[)）]?[ -]{0,3}[2-8]\d{6,7}(?!\d)(?:(?:转|-|(?i: ?ext\.? ?))\d{1,6}(?!\d))?"
)
_INTERNATIONAL: Final = re.compile(r"(?<![0-9A-Za-z])(?:\+|00)[1-9](?:[ ().-]{0,2}\d){6,14}(?!\d)")
_AMERICAN: Final = re.compile(r"(?<![0-9A-Za-z.-])\(?[2-9]\d\d\)?[ .-]{1,2}\d{3}[ .-]\d{4}(?!\d)")
_BRITISH: Final = re.compile(r"(?<![0-9A-Za-z.-])\(?0\d{2,4}\)? \d{3,4} ?\d{3,4}(?!\d)")
_SAID_PHONE: Final = re.compile(r"(?:电话|座机|固话|致电)[^\d，。；！？\n]{0,6}([2-8]\d{6,7})(?![\d-])")
_SPOKEN: Final = re.compile(
    r"[一幺][三四五六七八九][零〇一幺二三四五六七八九]{9}(?![零〇一幺二三四五六七八九])(?<![零〇一幺二三四五六七八九].{11})"
)

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_])?@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}(?![A-Za-z])"
)
_PLATE: Final = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][ ·•.-]?"
    r"(?:[A-K][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-K]|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_WECHAT: Final = re.compile(
    r"(?:[微薇威Vv]信|(?<![A-Za-z])[VvWw][Xx]|(?<![A-Za-z])[Ww]e[Cc]hat)"
    r"(?P<cue>(?:号码?|ID|id|是|为|is|[ :：]){0,4})(?P<account>[A-Za-z][A-Za-z0-9_-]{5,19})(?![A-Za-z0-9_-])"
)
_QQ: Final = re.compile(r"(?:(?<![A-Za-z])[Qq][Qq]|加[Qq])(?:号码?|群|是|为|[ :：]){0,4}([1-9]\d{4,10})(?![\d.])")


def emails(text: str) -> Iterator[Span]:
    """Find e-mail addresses."""
    if "@" in text:
        yield from (Span(*found.span(), "email") for found in _EMAIL.finditer(text))


def plates(text: str) -> Iterator[Span]:
    """Find Chinese plate numbers, new-energy ones too; at least three of their characters are digits."""
    for found in _PLATE.finditer(text) if LATIN.search(text) else ():
        if sum(character.isdigit() for character in found[0]) >= 3:
            yield Span(*found.span(), "plate")


def chat_accounts(text: str) -> Iterator[Span]:
    """Find WeChat and QQ accounts that the text names as such."""
    if not LATIN.search(text):
        return
    for found in _WECHAT.finditer(text):
        account = found["account"]
        if found["cue"].strip() or not account.isalpha():
            yield Span(*found.span("account"), "chat_account")
    yield from (Span(*found.span(1), "chat_account") for found in _QQ.finditer(text))


def id_cards(text: str) -> Iterator[Span]:
    """Find Chinese ID-card numbers: 18 digits by their check digit, 15 digits only where the text says so."""
    if not _LONG_NUMBER.search(text):
        return
    for found in _ID_18.finditer(text):
        if _SAID_ID.search(before(text, found.start())) or _is_id_card(found[0]):
            yield Span(*found.span(), "id_card")
    for found in _ID_15.finditer(text):
        if _SAID_ID.search(before(text, found.start())):
            yield Span(*found.span(), "id_card")


def bank_cards(text: str) -> Iterator[Span]:
    """Find bank cards by issuer prefix and Luhn digit, or where the text says so."""
    if not _LONG_NUMBER.search(text):
        return
    from stdnum import luhn

    for found in _CARD.finditer(text):
        digits = _digits(found[0])
        said = len(digits) >= 15 and _SAID_CARD.search(before(text, found.start()))
        if said or (_CARD_PREFIX.fullmatch(digits) and luhn.is_valid(digits) and not _is_other(text, found.start())):
            yield Span(*found.span(), "bank_card")


def phones(text: str) -> Iterator[Span]:
    """Find Chinese and international phone numbers; service lines (12333, 400, toll-free) are advice and stay."""
    for found in _SPOKEN.finditer(text):
        yield Span(*found.span(), "phone")
    if not _LONG_NUMBER.search(text):
        return
    for pattern, region in _plans(text):
        for found in pattern.finditer(text):
            if not _is_other(text, found.start()) and _is_personal_phone(found[0], region):
                yield Span(*found.span(), "phone")
    yield from (Span(*found.span(1), "phone") for found in _SAID_PHONE.finditer(text))


def _plans(text: str) -> list[tuple[re.Pattern[str], str | None]]:
    """Return the shapes to look for, each with the region whose numbering plan decides."""
    plans: list[tuple[re.Pattern[str], str | None]] = [(_MOBILE, "CN"), (_LANDLINE, "CN"), (_INTERNATIONAL, None)]
    return plans if re.search(HAN, text) else [*plans, (_AMERICAN, "US"), (_BRITISH, "GB")]


def _is_personal_phone(number: str, region: str | None) -> bool:
    import phonenumbers

    if number.startswith("00"):
        number = "+" + number[2:]
    try:
        parsed = phonenumbers.parse(number.replace("转", "ext"), region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(parsed) in {
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
        phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
        phonenumbers.PhoneNumberType.VOIP,
    }


def _is_id_card(number: str) -> bool:
    """Tell by date and check digit; the county is not asked, because old codes are missing from every table."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    digits = _digits(number)
    try:
        ric.get_birth_date(digits)
    except ValidationError:
        return False
    return ric.calc_check_digit(digits) == digits[-1]


def _is_other(text: str, start: int) -> bool:
    return _OTHER_NUMBER.search(before(text, start)) is not None


def _digits(number: str) -> str:
    return re.sub(r"[ -]", "", number).upper()
