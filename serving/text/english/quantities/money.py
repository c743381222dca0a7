"""Amounts of money."""

from __future__ import annotations

from serving.text.english.quantities.numbers import Number, cardinal, number
from serving.text.english.tokens import table

_CENT = ("cent", "cents")
CURRENCIES: dict[str, tuple[str, str, tuple[str, str] | None]] = {
    "$": ("dollar", "dollars", _CENT),
    "US$": ("US dollar", "US dollars", _CENT),
    "A$": ("Australian dollar", "Australian dollars", _CENT),
    "AU$": ("Australian dollar", "Australian dollars", _CENT),
    "C$": ("Canadian dollar", "Canadian dollars", _CENT),
    "CA$": ("Canadian dollar", "Canadian dollars", _CENT),
    "NZ$": ("New Zealand dollar", "New Zealand dollars", _CENT),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", _CENT),
    "S$": ("Singapore dollar", "Singapore dollars", _CENT),
    "R$": ("real", "reais", ("centavo", "centavos")),
    "€": ("euro", "euros", _CENT),
    "£": ("pound", "pounds", ("penny", "pence")),
    "¥": ("yen", "yen", None),
    "￥": ("yen", "yen", None),
    "₹": ("rupee", "rupees", ("paisa", "paise")),
    "Rs": ("rupee", "rupees", ("paisa", "paise")),
    "₩": ("won", "won", None),
    "₽": ("ruble", "rubles", ("kopek", "kopeks")),
    "₿": ("bitcoin", "bitcoins", None),
    "₺": ("lira", "liras", None),
    "₴": ("hryvnia", "hryvnias", None),
    "₪": ("shekel", "shekels", None),
    "₫": ("dong", "dong", None),
    "₱": ("peso", "pesos", None),
    "฿": ("baht", "baht", None),
    "₦": ("naira", "naira", None),
    "zł": ("zloty", "zlotys", None),
    "kr": ("krona", "kronor", None),
    "¢": ("cent", "cents", None),
    "USD": ("US dollar", "US dollars", _CENT),
    "EUR": ("euro", "euros", _CENT),
    "GBP": ("pound", "pounds", ("penny", "pence")),
    "JPY": ("yen", "yen", None),
    "CHF": ("Swiss franc", "Swiss francs", None),
    "CNY": ("yuan", "yuan", None),
    "RMB": ("yuan", "yuan", None),
    "INR": ("rupee", "rupees", ("paisa", "paise")),
    "CAD": ("Canadian dollar", "Canadian dollars", _CENT),
    "AUD": ("Australian dollar", "Australian dollars", _CENT),
    "NZD": ("New Zealand dollar", "New Zealand dollars", _CENT),
    "SEK": ("Swedish krona", "Swedish kronor", None),
    "NOK": ("Norwegian krone", "Norwegian kroner", None),
    "DKK": ("Danish krone", "Danish kroner", None),
    "KRW": ("won", "won", None),
    "BTC": ("bitcoin", "bitcoins", None),
    "MXN": ("Mexican peso", "Mexican pesos", None),
    "BRL": ("real", "reais", None),
    "PLN": ("zloty", "zlotys", None),
}
"""Sign or code: the name in the singular and the plural, and those of its hundredth."""
CODES = frozenset(sign for sign in CURRENCIES if sign.isupper() and len(sign) == 3)
MAGNITUDES = table(
    """
    k thousand, K thousand, m million, M million, mn million, mm million, MM million, mil million, b billion,
    B billion, bn billion, Bn billion, BN billion, bln billion, mln million, t trillion, T trillion, tn
    trillion, trn trillion
    """
)
MAGNITUDE_WORDS = frozenset(
    {"hundred", "thousand", "million", "billion", "trillion", "lakh", "crore", "dozen"}
)


def currency_name(sign: str, *, one: bool = False) -> str:
    """ "dollars", or "dollar" for one of them or before a noun ("a five dollar bill")."""
    singular, several, _ = CURRENCIES[sign]
    return (singular if one else several).replace("US ", "U S ")


def amount(sign: str, value: Number, magnitude: str = "", *, adjective: bool = False) -> str:
    """The words of an amount: 2.5 is "two dollars and fifty cents", with a magnitude "two point five million
    dollars"; more than two decimals are read as decimals.
    """
    hundredth = CURRENCIES[sign][2]
    name = currency_name(sign, one=adjective or (value.is_one and not magnitude))
    if magnitude:
        return f"{number(value)} {magnitude} {name}"
    fraction = value.fraction
    if not fraction or hundredth is None or len(fraction) > 2:
        return f"{number(thousands_or_decimals(sign, value))} {name}"
    whole, rest = value.integer.lstrip("0"), int(fraction.ljust(2, "0"))
    parts = []
    if whole or not rest:
        parts.append(f"{cardinal(whole or 0)} {currency_name(sign, one=adjective or whole == '1')}")
    if rest:
        parts.append(f"{cardinal(rest)} {hundredth[0] if rest == 1 or adjective else hundredth[1]}")
    return " and ".join(parts)


def thousands_or_decimals(sign: str, value: Number) -> Number:
    """€1.250 is twelve hundred and fifty euros, €1.499 a price with a tenth of a cent."""
    ambiguous = len(value.fraction) == 3 and sign == "€" and value.integer.strip("0") != ""
    if ambiguous and value.fraction.endswith("0"):
        return Number(value.integer + value.fraction, grouped=True)
    return value
