"""Telephone numbers, codes, addresses of machines, versions, and names that hold digits."""

from __future__ import annotations

import re

from serving.text.chinese.dates import Reading
from serving.text.chinese.numbers import cardinal, code, digits, number
from serving.text.chinese.pinyin import is_pinyin
from serving.text.chinese.units import UNIT, is_counted

_GAP = r"[- ]?"
_MOBILE = re.compile(rf"(?:(?:\(\+?86\)|\+?86){_GAP})?1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}}(?!\d)")
_LANDLINE = re.compile(
    rf"(?:\+86{_GAP})?(?:\(0\d{{2,3}}\)|0\d{{2,3}}[- ]){_GAP}\d{{3,4}}{_GAP}\d{{4}}(?!\d)(?:(?:转|-)(\d{{1,5}})(?!\d))?"
    rf"|0(?:10|2\d|[3-9]\d\d)\d{{7,8}}(?!\d)|[48]00{_GAP}\d{{3,4}}{_GAP}\d{{3,4}}(?!\d)"
)
_HOTLINE = re.compile(r"(?:110|119|120|122|911|12\d{3}|955\d\d|100(?:86|10|00))(?![\d.,%:/-])")
_SERVICES = re.compile(r"(?:10086|10010|123\d\d|955\d\d)")
_CALLED = re.compile(r"(?:拨打|拨|打|电话|热线|报警|客服|急救|火警|致电|匪警)[是为了：:\s]{0,2}\Z")
_CALLED_AFTER = re.compile(r"\s?(?:报警|电话|热线|急救|火警|救护|警察|客服)")
_KEYWORD = re.compile(
    r"(?:电话|手机|号码|验证码|密码|编号|编码|学号|工号|单号|订单|订单号|卡号|账号|邮编|邮政编码|身份证|身份证号|QQ|QQ群|群号|微信号|尾号"
    r"|代码|证号|传真|分机|热线|口令|PIN|pin|代号|警号|房间|房号|包厢|宿舍|门牌号|暗号|序列号|流水号|识别号|车牌|车牌号)(?:号码?)?[是为：:，,\s]{0,3}\Z"
)
_CODE = re.compile(r"\d{3,}(?:[- ]\d{2,})*(?![\d.,]\d|[\d])|0\d+(?!\d)")
_DOTTED = re.compile(r"\d{1,9}(?:\.\d{1,9}){2,8}(?!\d)")
_DASHED = re.compile(r"\d{1,12}(?:-\d{1,12}){2,8}(?![\d-])")
_TONED = re.compile(r"(?:[A-Za-zÜü]{1,6}[1-5]){1,12}(?![A-Za-z\d])")
_TERM = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}(?:-[A-Za-z0-9]{1,62}){0,8}(?:\.\d{1,9}(?!\d)){0,4}")
_GROUPS = re.compile(r"(?<![A-Za-z])\d+(?:\.\d+)*|\d+(?:\.\d+)*")
_LETTER_2_LETTER = re.compile(r"\b([BCGOP])2([BCGOP])\b")
_SIGNED_NAME = re.compile(r"([A-Za-z]{1,8})(\+\+|\+|#)(?![\w+])", re.ASCII)
_NUMERO = re.compile(r"(?:[Nn][Oo]\.|№)\s?(\d{1,6})(?![\d.])")
_TITLE = re.compile(r"(Mr|Mrs|Ms|Dr|Prof)\.(?=\s?[A-Z])")
_TITLES = {"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor"}
_VERSION = re.compile(r"([vV])(?:er)?\.?\s?(\d{1,9}(?:\.\d{1,9}){1,8})(?!\d)")
_TRAIN = re.compile(r"[GDCZTKYL]\d{1,4}(?=次|列车|高铁|动车)")
_AMPERSAND = re.compile(r"([A-Za-z]{1,8})&([A-Za-z]{1,8})(?![A-Za-z])")
_NAMED = re.compile(
    r"\d{3,4}(?=室|号房|房间|教室|会议室|病房|包间|寝室|路公交|路车)|"
    r"\d{3}(?=事件|高校|院校|工程|晚会|大促|航班|客机)|(?<=波音|空客)\d{3}(?!\d)"
)
_DAY_NAME = re.compile(r"\d{1,2}·\d{1,2}(?!\d)")
_METRES = re.compile(r"(?<=[\d一二两三]米)\d{2}(?![\d.,%]|[米厘个元人])")
_AFTER_YEAR_NAME = re.compile(r"[A-Za-z]\s\Z")
_YEAR_NAME = re.compile(r"(?:19|20)\d\d(?![\d.,%:/-])")


def read_phone(text: str, at: int) -> Reading | None:
    """Mobile, landline and service numbers."""
    if text[at - 1 : at].isdigit():
        return None
    if match := _MOBILE.match(text, at) or _LANDLINE.match(text, at):
        written = match.group()
        prefix = "加" if "+" in written else ""
        if match.re is _LANDLINE and match[1]:
            return match.end(), f"{prefix}{code(text[at : match.start(1)])}转{code(match[1])}"
        return match.end(), prefix + code(written)
    if (match := _HOTLINE.match(text, at)) and _is_called(text, at, match.end()):
        return match.end(), code(match.group())
    return None


def _is_called(text: str, start: int, end: int) -> bool:
    if _CALLED.search(text, max(0, start - 8), start) or _CALLED_AFTER.match(text, end):
        return True
    measured = is_counted(text, end) or re.compile(rf"\s?(?:{UNIT}|[多余号路])").match(text, end)
    return _SERVICES.fullmatch(text, start, end) is not None and not measured


def read_code(text: str, at: int) -> Reading | None:
    """Digits after a word such as 验证码, and what is too long to be a quantity."""
    if _KEYWORD.search(text, max(0, at - 12), at) and (match := _CODE.match(text, at)):
        return match.end(), code(match.group())
    return None


def read_dotted(text: str, at: int) -> Reading | None:
    """192.168.1.1 digit by digit; 1.2.3 part by part; 1-2-3 with pauses."""
    if match := _DOTTED.match(text, at):
        parts = match.group().split(".")
        address = len(parts) == 4 and all(int(part) < 256 for part in parts)
        return match.end(), "点".join(digits(part) if address else cardinal(part) for part in parts)
    if match := _DASHED.match(text, at):
        parts = match.group().split("-")
        long = any(len(part) > 2 for part in parts)
        return match.end(), "-".join(digits(part) if long else cardinal(part) for part in parts)
    return None


def read_name_number(text: str, at: int) -> Reading | None:
    """A number that is a name (911事件, 9·11, 波音747), centimetres after metres (1米75), and a year after a name of
    Latin letters ("CES 2024")."""
    if day := _DAY_NAME.match(text, at):
        return day.end(), digits(day.group().replace("·", ""))
    if centimetres := _METRES.match(text, at):
        return centimetres.end(), digits(centimetres.group())
    if named := _NAMED.match(text, at):
        return named.end(), digits(named.group())
    match = _YEAR_NAME.match(text, at)
    if match and _AFTER_YEAR_NAME.search(text, max(0, at - 2), at) and not is_counted(text, match.end()):
        return match.end(), digits(match.group())
    return None


def read_term(text: str, at: int) -> Reading | None:
    """A word of Latin letters: as it is written, with its digits in Chinese."""
    if (match := _TONED.match(text, at)) and is_pinyin(match.group()):
        return match.end(), match.group()
    if match := _NUMERO.match(text, at):
        return match.end(), f"number {number(match[1])}"
    if match := _TITLE.match(text, at):
        return match.end(), _TITLES[match[1]]
    if match := _VERSION.match(text, at):
        return match.end(), f"{match[1]}{'点'.join(cardinal(part) for part in match[2].split('.'))}"
    if match := _TRAIN.match(text, at):
        return match.end(), match.group()[0] + code(match.group())
    if match := _SIGNED_NAME.match(text, at):
        sign = {"++": "加加", "+": "加", "#": " sharp"}[match[2]]
        return match.end(), match[1] + sign
    if match := _AMPERSAND.match(text, at):
        return match.end(), f"{match[1]} and {match[2]}"
    match = _TERM.match(text, at)
    if match is None:
        return None
    term = match.group()
    if is_pinyin(term) or not any(char.isdigit() for char in term):
        return match.end(), term
    return match.end(), _GROUPS.sub(_digits_in_name, _LETTER_2_LETTER.sub(r"\1 to \2", term))


def _digits_in_name(match: re.Match[str]) -> str:
    written = match.group()
    whole = written.partition(".")[0]
    if "." in written:
        return "点".join(
            cardinal(part) if not index else digits(part) for index, part in enumerate(written.split("."))
        )
    return digits(whole) if len(whole) > 2 else cardinal(whole)
