"""Quantities: with signs, units, currencies, ranges, ratios, fractions, sums."""

from __future__ import annotations

import re

from serving.text.chinese.dates import Reading
from serving.text.chinese.numbers import NUMBER, PRICE, cardinal, code, digits, number
from serving.text.chinese.units import CURRENCIES, CURRENCY, SCALES, UNIT, UNITS, is_counted

_MINUS = "-−–﹣"
_TO = r"\s?(?:[-~–—～−至到]|~~|--)\s?"
_UNIT = rf"(?:{UNIT})(?![A-Za-z])"
_PER = "小时|分钟|平方米|公里|公斤|千克|[天月年次人斤个秒日周晚张份米]|h|s|min|kg|km|m²|㎡"
_OPERATORS = {
    "+": "加", "-": "减", "−": "减", "–": "减", "×": "乘", "x": "乘", "X": "乘", "*": "乘", "·": "乘",
    "÷": "除以", "/": "除以", "=": "等于", "<": "小于", ">": "大于", "≤": "小于等于", "≥": "大于等于",
    "<=": "小于等于", ">=": "大于等于", "≠": "不等于", "≈": "约等于", "±": "正负", "^": "的",
    "!=": "不等于", "==": "等于",
}  # fmt: skip
_LEADING = {
    "≥": "大于等于",
    "≤": "小于等于",
    "±": "正负",
    "≈": "约",
    "<": "小于",
    ">": "大于",
    "~": "约",
    "～": "约",
    "√": "根号",
    ">=": "大于等于",
    "<=": "小于等于",
}
_SUM = re.compile(
    rf"[{_MINUS}]?{NUMBER}%?(?:\s?(?:[<>=!]=|[-+−–×xX*÷/=<>≤≥≠≈±^])\s?[-−]?{NUMBER}%?(?![A-Za-z%\d])){{1,40}}"
)
_TERM = re.compile(rf"({NUMBER})(%?)|([<>=!]=|[-+−–×xX*÷/=<>≤≥≠≈±^])")
_IS_SUM = re.compile(r"[+×xX*÷=<>≤≥≠≈±^]")
_POWER = {"2": "平方", "3": "立方"}
_FRACTION = re.compile(r"(?:(\d{1,6})\s)?(\d{1,6})/(\d{1,6})(?![\d/.])")
_RATIO = re.compile(r"\d{1,12}(?:\.\d{1,6})?(?:\s?[:：]\s?\d{1,12}(?:\.\d{1,6})?){1,4}(?![\d:：])")
_SCORE = re.compile(
    r"(\d{1,3})[-–](\d{1,3})(?!\d)(?=\s?(?:获胜|击败|战胜|取胜|领先|落后|战平|大胜|险胜|力克|负于|不敌|逆转|横扫|小胜|完胜|赢|输))"
)
_PAIR = re.compile(r"(\d{1,3})[-–](\d{1,3})(?!\d)")
_SCORE_BEFORE = re.compile(r"(?:比分|以)[为是：:\s]{0,2}\Z")
_PERCENTS = re.compile(rf"([-−+]?)({NUMBER})([%‰]?){_TO}([-−]?)({NUMBER})([%‰])")
_PERCENT = re.compile(rf"([{_MINUS}+]?)({NUMBER})\s?([%‰])")
_SCALE = rf"\s?[{SCALES}]{{1,2}}| (?:m|b|tr)illion(?![A-Za-z])|[KMBkmb](?![A-Za-z])|"
_MONEY = re.compile(rf"({CURRENCY})\s?([{_MINUS}]?)({PRICE})(?:{_TO}(?:{CURRENCY})?({PRICE}))?({_SCALE})")
_MONEY_AFTER = re.compile(
    rf"({PRICE})\s?([{SCALES}]{{0,2}})\s?(?:({CURRENCY})(?![A-Za-z])|(?=元(?!/)|美元|块(?!/)))"
)
_RANGE = re.compile(rf"([{_MINUS}]?)({NUMBER})(\s?(?:{_UNIT}))?({_TO})([{_MINUS}]?)({NUMBER})(?![\d-])")
_UNTIL = re.compile(
    r"[-~–—～](?=\d{1,6}(?:\.\d{1,4})?(?:小时|分钟|公里|公斤|[月日号点年时层楼周岁级页章天元个米度万亿]))"
)
_DECIMALS = re.compile(r"\.(\d{1,16})(?![\d.])")
_MEASURED = re.compile(r"\d(?:小时|分钟|公里|公斤|[月日号点年时层楼周岁级页章天元个米度万亿])\Z")
_TEN_THOUSANDS = re.compile(r"[wW](?=\+|粉|人|元|块|阅读|播放|点赞|浏览)(\+?)(?![A-Za-z\d])")
"""10w+, 3W粉: no watts."""
_NO_UNIT = re.compile(r"s店|g(?=网|手机|信号|流量|时代|基站|套餐|用户)")
"""4s店, 5g网络: a letter that is no unit."""
_AMOUNT = re.compile(rf"([{_MINUS}+]?)({NUMBER})")
_SPACED_UNIT = re.compile(
    rf"\s?(?:({_UNIT})|(元|块|公里|千米|米|次|斤|公斤|人|个|度)(?=/))(?:/({_PER})(?![A-Za-z]))?(?![A-Za-z])"
)
_MAGNITUDES = {
    **dict.fromkeys(("K", "k"), "千"),
    **dict.fromkeys(("M", "m", " million"), "百万"),
    **dict.fromkeys(("B", "b", " billion"), "十亿"),
    " trillion": "万亿",
}
_PER_SPOKEN = {
    "h": "小时",
    "s": "秒",
    "min": "分钟",
    "kg": "千克",
    "km": "公里",
    "m²": "平方米",
    "㎡": "平方米",
}
_NAME_BEFORE = re.compile(r"[A-Za-z]\s\Z")
_LONG = 13
"""Digits from which a number is read digit by digit."""


def read_money(text: str, at: int) -> Reading | None:
    """￥1,234.56, $5, HK$100万, 15€."""
    if match := _MONEY.match(text, at):
        if not text[at].isalpha() or not text[at - 1 : at].isalpha() or not text[at - 1 : at].isascii():
            amount = _price(match[3])
            if match[4]:
                amount += f"到{_price(match[4])}"
            scale = _MAGNITUDES.get(match[5], match[5].strip())
            sign = "负" if match[2] else ""
            end = match.end()
            if text.startswith("元", end) and CURRENCIES[match[1]] == "元":
                end += 1
            return end, f"{sign}{amount}{scale}{CURRENCIES[match[1]]}"
        return None
    if match := _MONEY_AFTER.match(text, at):
        if match[3]:
            return match.end(), f"{_price(match[1])}{match[2]}{CURRENCIES[match[3]]}"
        return match.end(), f"{_price(match[1])}{match[2]}"
    return None


def _price(text: str) -> str:
    """Without cents where there are none. Two is 两."""
    whole, _, cents = text.partition(".")
    if not cents.strip("0"):
        return "两" if whole == "2" else number(whole)
    return number(text)


def read_percent(text: str, at: int) -> Reading | None:
    """5%, -0.5%, 20%-30%, 3‰."""
    parts = {"%": "百分之", "‰": "千分之"}
    if match := _PERCENTS.match(text, at):
        sign, first, _, second_sign, second, mark = match.groups()
        part = parts[mark]
        again = part if match[3] else ""
        return match.end(), f"{part}{_sign(sign)}{number(first)}到{again}{_sign(second_sign)}{number(second)}"
    if match := _PERCENT.match(text, at):
        return match.end(), f"{parts[match[3]]}{_sign(match[1])}{number(match[2])}"
    return None


def read_sum(text: str, at: int) -> Reading | None:
    """1+1=2, 3×4, 5>3. Without such a sign a dash is a range and a slash a fraction."""
    match = _SUM.match(text, at)
    if match is None or not _IS_SUM.search(match.group()):
        return None
    spoken, negative, power = "", True, False
    for term in _TERM.finditer(match.group()):
        if term[3]:
            spoken += "负" if negative and term[3] in "-−–" else _OPERATORS[term[3]]
            negative, power = True, term[3] == "^"
            continue
        value = ("百分之" if term[2] else "") + number(term[1])
        spoken += _POWER.get(term[1], value + "次方") if power else value
        negative = power = False
    return match.end(), spoken


def read_fraction(text: str, at: int) -> Reading | None:
    """1/2, 1 1/2. After 第 the slash is a pause."""
    match = _FRACTION.match(text, at)
    if match is None or text[at - 1 : at] == "第":
        return None
    spoken = f"{cardinal(match[3])}分之{cardinal(match[2])}"
    return match.end(), f"{cardinal(match[1])}又{spoken}" if match[1] else spoken


def read_ratio(text: str, at: int) -> Reading | None:
    """3:2, 1:10000; 3-2 where it is a score."""
    if match := _SCORE.match(text, at):
        return match.end(), f"{cardinal(match[1])}比{cardinal(match[2])}"
    if _SCORE_BEFORE.search(text, max(0, at - 5), at) and (match := _PAIR.match(text, at)):
        return match.end(), f"{cardinal(match[1])}比{cardinal(match[2])}"
    if match := _RATIO.match(text, at):
        return match.end(), "比".join(number(part.strip()) for part in re.split("[:：]", match.group()))
    return None


def read_range(text: str, at: int) -> Reading | None:
    """10-20元, -5~5℃, 2-3个. Between numbers that fall a dash is a minus."""
    match = _RANGE.match(text, at)
    if match is None or (match[1] and not _is_sign(text, at)):
        return None
    sign, first, unit, to, second_sign, second = match.groups()
    joint = "至" if "至" in to else "到"
    if "-" in to and not (sign or unit) and float(first.replace(",", "")) > float(second.replace(",", "")):
        joint = "减"
    unit = UNITS[unit.strip()] if unit else ""
    counted = _before(text, match.end())
    end, last = _with_unit(second, text, match.end())
    return end, f"{_sign(sign)}{_quantity(first, counted)}{unit}{joint}{_sign(second_sign)}{last}"


def read_until(text: str, at: int) -> Reading | None:
    """The dash of 3月-5月, 9月30日-10月8日 and 100元-200元."""
    match = _UNTIL.match(text, at)
    if match and _MEASURED.search(text, max(0, at - 3), at):
        return match.end(), "到"
    return None


def read_amount(text: str, at: int) -> Reading | None:
    """Any number, with its sign and its unit."""
    match = _AMOUNT.match(text, at)
    if match is None:
        return None
    sign = _sign(match[1]) if match[1] and _is_sign(text, at) else "加" if match[1] == "+" else match[1]
    end = match.end()
    written = match[2]
    if text.startswith(("²", "³"), end):
        return end + 1, f"{sign}{number(written)}{'的平方' if text[end] == '²' else '的立方'}"
    if len(written) >= _LONG and written.isdecimal() and not text.startswith(tuple(SCALES), end):
        return end, sign + code(written)
    if text[at - 1 : at] == "第":
        return end, sign + number(written)
    if many := _TEN_THOUSANDS.match(text, end):
        return many.end(), f"{sign}{_quantity(written, True)}万{'加' if many[1] else ''}"
    plus = text.startswith("+", end) and not text[end + 1 : end + 2].isdigit()
    if plus:
        return end + 1, f"{sign}{number(written)}加"
    end, spoken = _with_unit(
        written, text, end, name=_NAME_BEFORE.search(text, max(0, at - 2), at) is not None
    )
    return end, sign + spoken


def _with_unit(written: str, text: str, end: int, *, name: bool = False) -> Reading:
    """A number with the unit that follows it. After a name ("iPhone 5s") a letter is no unit."""
    match = _SPACED_UNIT.match(text, end)
    if match is None or (name and len(match.group()) == 1) or _NO_UNIT.match(text, end):
        return end, _quantity(written, _before(text, end))
    unit = UNITS[match[1]] if match[1] else match[2]
    per = f"每{_PER_SPOKEN.get(match[3], match[3])}" if match[3] else ""
    return match.end(), f"{per}{_quantity(written, True)}{unit}"


def _before(text: str, end: int) -> bool:
    """Whether what follows the number is counted or measured."""
    return is_counted(text, end + text.startswith(" ", end)) or _SPACED_UNIT.match(text, end) is not None


def _quantity(written: str, counted: bool) -> str:
    """The number; 2 is 两 where something is counted."""
    return "两" if written == "2" and counted else number(written)


def read_leading(text: str, at: int) -> Reading | None:
    """A sign before a number that is said as a word: ≥18, ±5, ~100; a number that begins with its point."""
    for length in (2, 1):
        spoken = _LEADING.get(text[at : at + length])
        if spoken and text[at + length : at + length + 2].strip()[:1].isdigit():
            if text[at] in "~～" and text[at - 1 : at].isalpha():
                continue
            return at + length, spoken
    if (match := _DECIMALS.match(text, at)) and not text[at - 1 : at].isalnum():
        return match.end(), f"零点{digits(match[1])}"
    return None


def _sign(sign: str) -> str:
    return "" if not sign else "正" if sign == "+" else "负"


def _is_sign(text: str, at: int) -> bool:
    """Whether a dash or a plus before a number belongs to it, and does not join it to what stands before."""
    before = text[at - 1 : at]
    joined = (before.isascii() and before.isalnum()) or before in (")", "）", "]", "%")
    return not joined and _MEASURED.search(text, max(0, at - 3), at) is None
