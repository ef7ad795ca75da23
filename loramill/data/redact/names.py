"""Personal names where the text presents one: before a title, after "我叫", "姓名：", "Dear Mr".

Chinese surnames are also ordinary characters (何时, 和平, 方便), so a surname counts only as much as its surroundings do:
`SURE` ones before any title, `LIKELY` ones where a new phrase begins, `RARE` ones in a salutation. 王某 is already anonymous.
"""

import re
from collections.abc import Iterator
from typing import Final

from loramill.data.redact.spans import HAN, Span

SURE: Final = (
    "王李刘陈杨赵吴徐孙胡朱郭梁宋郑谢韩唐冯邓曹彭曾肖潘袁蒋蔡贾丁魏薛叶阎杜戴夏姜范姚谭廖邹熊陆郝孔崔邱秦顾侯邵孟"
    "段汤尹黎贺龚殷陶翟覃卢沈俞鲍裴聂焦柳詹岳齐庞樊兰倪欧褚卞乔萧赖"
)
LIKELY: Final = "张周黄马林罗高方何余苏吕程田苗钟汪石金史江万雷钱常武康毛白龙严牛温季葛尚鲁洪莫路童易辛安祝左游傅董"
RARE: Final = "于和同向应从时解许付经成全管车华文包房申施项关单明水简盛柏凌霍骆耿伍席甘任"
COMPOUND: Final = "欧阳|司马|诸葛|上官|东方|皇甫|尉迟|公孙|慕容|令狐|司徒|夏侯|端木|长孙"

_COMPOUNDS: Final = frozenset(COMPOUND.split("|"))
_SURNAMES: Final = frozenset(SURE + LIKELY + RARE + COMPOUND)

_PERSON_TITLES: Final = ("先生", "女士", "小姐", "太太", "同志")
_TRADE_TITLES: Final = ("律师", "老师", "经理", "主任", "医生", "大夫", "法官", "总监")
_SURNAME_TITLES: Final = (
    "师傅",
    "仲裁员",
    "董事长",
    "书记",
    "处长",
    "科长",
    "店长",
    "厂长",
    "队长",
    "阿姨",
    "叔叔",
    "总",
    "姐",
    "哥",
)
"""Stand after a surname; after a full name they are as often part of a trade (水电师傅)."""
_NOT_A_PERSON: Final = re.compile(
    "(?<=律师)(?:费|函|事务所|所|证|法|团|协会|界|行业|资格|会见|执业|见证|调查|辅导|业务|公会|身份)"
    "|(?<=总监)理|(?<=总)[价体共是计会数结公部额之经裁理监有归括算要程]|(?<=哥)[伦特们]|(?<=姐)[妹夫]"
)
_GIVEN: Final = "[\u4e00-\u9fff]"
_NO_GIVEN: Final = re.compile(
    "[的是了在不某们级国司时市省区县州法所谓么此者个这那让被把也又就都很我你他她它您]|先生|女士|小姐|律师|老师|经理|主任|医生|师傅|法官|大夫"
    "|^(?:苏|西|徽|东|京|何|便|全|装|排|海|波|汉|都|家庄|述|末|上|山|金|总|经理|律|师|三|四|于)$"
)
_PHRASE: Final = (
    rf"(?:(?<!{HAN})|(?<=[是找叫问请跟和与让的给们去向被见约及到劝催听看])|(?<=同事|客户|联系|感谢|谢谢|尊敬|亲爱|老板|客服"
    r"|顾问|原告|被告|这位|那位|公司|主管|你好|您好|部门|委托|咨询|转告|收到))"
)
_SURE_BEFORE: Final = re.compile(rf"(?<![主夸国扩嚣紧桃行])(?!(?<=[谢多感拜致])谢)(?P<name>[{SURE}]|{COMPOUND})$")
_LIKELY_BEFORE: Final = re.compile(rf"{_PHRASE}(?P<name>[{LIKELY}])$")
_RARE_BEFORE: Final = re.compile(rf"(?:(?<!{HAN})|(?<=尊敬的|亲爱的)|(?<=感谢|谢谢|您好|你好))(?P<name>[{RARE}])$")
_GREETING: Final = re.compile(r"您好|你好|[,，:：!！。]|$")
_FULL_BEFORE: Final = re.compile(rf"{_PHRASE}(?P<name>(?:[{SURE}{LIKELY}]|{COMPOUND})(?P<given>{_GIVEN}{{1,2}}))$")
_FULL_SURE_BEFORE: Final = re.compile(rf"{_PHRASE}(?P<name>(?!谢谢)(?:[{SURE}]|{COMPOUND})(?P<given>{_GIVEN}{{1,2}}))$")

_ANY: Final = f"(?:[{SURE}{LIKELY}{RARE}]|{COMPOUND})"
_ENDS: Final = (
    rf"(?!{HAN})|(?=今年|来自|电话|手机|身份证|男|女|是|在|住|我|和|想|要|现|因|被|也|就|与|系|诉|称|起诉|主张|辩|欠|于|"
    "说|跟|对|拖|工伤|先生|女士)"
)
_SAID: Final = re.compile(
    r"(?:(?<![帮给替让为])我叫|[我他她]名叫|名字(?:叫|是)|本人名?叫|(?:老板|老公|老婆|丈夫|妻子|儿子|女儿|父亲|母亲|同事|朋友|经理|主管|[他她])叫)"
    rf"[:： ]?(?P<name>{_ANY}(?P<given>(?:{_GIVEN}{{1,2}}?(?:{_ENDS}))|{_GIVEN}{{2}}))"
)
_FIELD: Final = re.compile(
    r"(?:姓名|联系人|收件人|收货人|委托人|代理人|申请人|法定代表人|法人代表|开?户名|签名|签字|原告|被告|上诉人|证人|借款人|负责人"
    rf"|经办人|当事人|持卡人|客户|本人)[:：是为叫 ]{{1,3}}"
    rf"(?P<name>(?:[{SURE}{LIKELY}]|{COMPOUND}|(?<=[:：])[{RARE}])(?P<given>{_GIVEN}{{1,2}}))(?!{HAN})"
)
_ROLE: Final = re.compile(
    rf"(?:原告|被告|委托人|申请人|上诉人|开?户名|我是|本人|(?:我是|是)(?:您的)?(?:客服|顾问|管家|专员))"
    rf"(?P<name>(?:[{SURE}]|{COMPOUND}|(?<=户名)[{LIKELY}])(?P<given>{_GIVEN}{{1,2}}?))(?:{_ENDS})"
)
_SURNAME: Final = re.compile(rf"(?:免贵|[我他她,，])姓(?P<name>{_ANY})(?!{HAN})")

_WORD: Final = r"(?:[A-Z]['’])?[A-Z]?[A-Z][a-z]{1,20}(?:-[A-Z][a-z]{1,20})?"
_NOBODY: Final = re.compile(
    r"\b(?:There|Sirs?|Madam|Customers?|Team|All|Everyone|Hiring|Manager|Support|Service|Client|User|Friend|Colleagues?|Member"
    r"|Valued|Guest|Seller|Buyer|Mrs?|Ms|Miss|Dr|Professor|Prof|President|Chairman|Not|Here|Wrong)\b"
)
_CUED: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("叫|名字是", _SAID),
    ("名：|名:|人：|人:|名是|名为|人是|人为|人叫|字：|告：|户：|人 |名 |告 ", _FIELD),
    ("原告|被告|委托人|申请人|上诉人|户名|我是|本人|是客服|是您的|是顾问|是管家|是专员", _ROLE),
    ("姓", _SURNAME),
    (
        "Mr|Ms|Miss|Dr|Prof|Attorney",
        re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Attorney)\.? (?P<name>{_WORD}(?: {_WORD})?)"),
    ),
    ("ame is |ame's ", re.compile(rf"\b[Mm]y name(?: is|'s) (?P<name>{_WORD}(?: {_WORD}){{0,2}})")),
    ("I'm |I am ", re.compile(rf"\bI(?:'m| am) (?P<name>{_WORD} {_WORD})(?=[,.]| from\b)")),
    ("his is ", re.compile(rf"\b[Tt]his is (?P<name>{_WORD}(?: {_WORD})?)(?= speaking\b| calling\b| from\b)")),
    (
        "Dear |Hi |Hello |Hey ",
        re.compile(rf"(?:^|\n)(?:Dear|Hi|Hello|Hey) (?P<name>{_WORD}(?: {_WORD})?)(?=[,:!])"),
    ),
    (
        "egards,|incerely,|heers,|truly,|ishes,",
        re.compile(
            r"(?:[Rr]egards|[Ss]incerely|[Cc]heers|[Tt]ruly|[Ww]ishes),\s{1,3}"
            rf"(?P<name>{_WORD}(?: {_WORD})?)(?=\s*$|\n)"
        ),
    ),
)
"""Patterns, each with words of which a text must hold one: to look for a word is many times quicker."""


def names(text: str) -> Iterator[Span]:
    """Find names; of "张先生" only 张, so that the sentence still reads."""
    yield from _before_titles(text)
    for cues, pattern in _CUED:
        if any(cue in text for cue in cues.split("|")):
            yield from _matches(pattern, text)


def _before_titles(text: str) -> Iterator[Span]:
    for titles, full in ((_PERSON_TITLES, _FULL_BEFORE), (_TRADE_TITLES, _FULL_SURE_BEFORE), (_SURNAME_TITLES, None)):
        for start, end in _places(text, titles):
            lead = text[max(0, start - 4) : start]
            if not _SURNAMES.isdisjoint(lead) and not _NOT_A_PERSON.match(text, end):
                yield from _before_title(text, start, end, full)


def _places(text: str, words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Return where any of these words stands; `str.find` is many times quicker than a pattern of alternatives."""
    for word in words:
        start = text.find(word)
        while start >= 0:
            yield start, start + len(word)
            start = text.find(word, start + 1)


def _before_title(text: str, start: int, end: int, full: re.Pattern[str] | None) -> Iterator[Span]:
    offset = max(0, start - 8)
    lead = text[offset:start]
    patterns = [_RARE_BEFORE] if lead[-1] in RARE and _GREETING.match(text, end) else []
    patterns += [_LIKELY_BEFORE] if lead[-1] in LIKELY else []
    patterns += [_SURE_BEFORE] if lead[-1] in SURE or lead[-2:] in _COMPOUNDS else []
    patterns += [full] if full and not _SURNAMES.isdisjoint(lead[-4:-1]) else []
    for pattern in patterns:
        for span in _matches(pattern, lead):
            yield Span(span.start + offset, span.end + offset, "name")


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for found in pattern.finditer(text):
        given = found["given"] if "given" in pattern.groupindex else ""
        if not _NO_GIVEN.search(given) and not _NOBODY.search(found["name"]):
            yield Span(*found.span("name"), "name")
