"""The signs that the rules of one row look for, as regular expressions."""

import re
from typing import Final


def any_of(*signs: str, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern that finds any of some signs."""
    return re.compile("|".join(signs), flags)


WORD: Final = re.compile(r"[^\W_]+")
BLANK: Final = re.compile(r"[ \t\r\n\u3000]+")
CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
LINK: Final = re.compile(r"(?:https?://|www\.)[^\s，。；）」】]+", re.IGNORECASE)
ABOUT_CODE: Final = any_of(
    r"html|css|xml|javascript|\bjs\b|code|python|java\b|sql|regex",
    r"网页|标签|代码|程序|编程|函数|正则",
    flags=re.IGNORECASE,
)

MUSTACHE: Final = re.compile(r"\{\{.{0,60}?\}\}")
PLACEHOLDER: Final = any_of(
    MUSTACHE.pattern,
    r"\$\{[A-Za-z_]\w*\}",
    r"<(?:your|insert|enter)[ _-][^<>\n]{1,40}>",
    r"\b(?:TODO|FIXME|TBD)\b|lorem ipsum",
    r"(?<![有尚亟还仍])待补充(?=[\s。.！!）)】\]…]|$)",  # 「有待补充」 is a sentence
    r"此处(?:填写|插入|省略)",
)
_WHOSE: Final = r"(?:您的|你的|客户|公司|当事人)?"
_WHAT: Final = r"(?:姓名|名字|名称|公司名称?|日期|地址|电话(?:号码)?|手机号码?|身份证号码?|金额|职位|邮箱)"
SLOT: Final = any_of(
    rf"[\[【<＜［]\s*{_WHOSE}{_WHAT}\s*[\]】>＞］]",
    r"[\[【<＜［(（]\s*请?(?:填写|插入|填入|输入)[^\]】>＞］)）\n]{0,20}[\]】>＞］)）]",
    r"(?<![A-Za-z0-9_\\}$^])\{\s*(?:[A-Za-z_]{3,30}|[\u4e00-\u9fff]{2,12})\s*\}",  # not LaTeX's braces
    r"(?<![A-Za-z0-9])(?:X{3,}|×{3,})(?![A-Za-z0-9])",
    r"\[\s*(?:your|insert|customer|client|company|first|last|full)\b[^\]\n]{0,40}\](?!\()",
    r"\[\s*(?:name|date|address|phone|email|amount)\s*\](?!\()",  # a link of markdown goes on with (
    flags=re.IGNORECASE,
)

BROKEN: Final = any_of("\ufffd", "锟斤拷|烫烫烫|屯屯屯", "ï»¿")
"""What lost bytes leave; the words are what they look like in GBK."""
GBK_SUSPECTS: Final = re.compile("[锛銆鈥浣鐨鏄鍦鎴鍙璇]")
"""UTF-8's commonest Chinese characters, read as GBK."""
HAN_RUN: Final = re.compile("[\u4e00-\u9fff\u3400-\u4dbf\ue000-\uf8ff€]{4,}")
CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
INVISIBLE: Final = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]")

TOKEN: Final = any_of(
    r"<\|[A-Za-z_][\w ]{0,40}\|>|<｜[^｜\n]{1,40}｜>",
    r"\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|\[gMASK\]|\[UNUSED_TOKEN_\d+\]",
    r"<(?:bos|eos|pad|unk)>|</s>|<(?:reserved|extra_id)_\d+>",
    r"^#{2,3} ?(?:Instruction|Response|Human|Assistant|指令|回复):",
    flags=re.MULTILINE,
)
STRUCK: Final = re.compile(r"<s>[^<]*</s>")
"""HTML for struck text, no token."""
TAG: Final = any_of(
    r"</?(?:p|div|span|br|a|b|i|u|em|strong|font|img|center|iframe|script|style)(?:\s[^<>]*)?/?>",
    r"</?(?:table|tbody|tr|td|th|ul|ol|li|h[1-6])(?:\s[^<>]*)?/?>",
    r"&(?:nbsp|lt|gt|amp|quot|ldquo|rdquo|mdash|hellip|#\d{2,5}|#x[0-9a-f]{2,4});",
    flags=re.IGNORECASE,
)

_MACHINE: Final = r"(?:AI|人工智能|大型?语言模型|语言模型|聊天机器人)"
REFUSAL: Final = any_of(
    rf"作为(?:一个|一名|一款)?{_MACHINE}|我(?:只)?是(?:一个|一款){_MACHINE}",
    r"(?:无法|不能)(?:满足|完成|处理|协助|回答)(?:您|你)的?(?:这个|该)?(?:请求|要求|问题)",
    r"我的知识(?:截止|更新)|由 ?OpenAI ?(?:训练|开发)",
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)|I['’]?m (?:just )?an AI\b",
    r"trained by OpenAI|knowledge cut-?off",
    r"\bI['’]?m sorry,? but I (?:can['’]?t|cannot|am unable to|['’]m not able to)",
    r"\bI (?:cannot|can['’]t) (?:assist|fulfil+|comply)",
    flags=re.IGNORECASE,
)

TAIL: Final = re.compile(r"[\s*_`#]+\Z")
HANGING: Final = any_of(
    r"[，、,：:（(\[【《“‘「『<&+=]\Z",
    r"(?:因此|所以|但是|然而|并且|而且|以及|或者|因为|如果|例如|比如|其中|根据|依据|由于|包括)\Z",
    r"[A-Za-z,] (?:the|and|or|of|to|with|a|an|but|because|which|that|for|in)\Z",
)
CLOSED: Final = any_of(
    r"[。！？!?.…~～”’\"'）)】\]》>」』〕；;|}]\Z",
    r"[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]\Z",  # an emoji
)
BRACKETS: Final = (("（", "）"), ("(", ")"), ("《", "》"), ("“", "”"), ("【", "】"), ("[", "]"))
LIST_ITEM: Final = re.compile(r"\s*(?:[-*•·●]|\d{1,2}[.、)）]|[(（]?[一二三四五六七八九十]{1,2}[)）、])")
