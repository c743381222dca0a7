"""Units of measurement behind a number."""

from __future__ import annotations

import re

from serving.text.english.quantities.numbers import plural
from serving.text.english.tokens import table, word_set

_PREFIXES = table(
    """
    k kilo, M mega, G giga, T tera, m milli, µ micro, n nano
    """
)
_SINGLE = {
    **{"m": "meter", "g": "gram", "l": "liter", "L": "liter", "s": "second", "h": "hour", "t": "ton"},
    **{"V": "volt", "W": "watt", "A": "amp", "N": "newton", "J": "joule", "K": "kelvin", "Ω": "ohm"},
    **{"d": "day", "B": "byte", "b": "bit", "C": "degree Celsius", "F": "degree Fahrenheit", "°": "degree"},
    **{"'": "foot", '"': "inch", "′": "foot", "″": "inch", "ℓ": "liter", "Å": "angstrom", "★": "star"},
}
_PREFIXED = {
    "m": ("kmµn", "meter"),
    "g": ("kmµn", "gram"),
    "l": ("mµ", "liter"),
    "L": ("mµ", "liter"),
    "s": ("mµn", "second"),
    "Hz": ("kMGT", "hertz"),
    "W": ("kMGTm", "watt"),
    "Wh": ("kMGTm", "watt hour"),
    "V": ("kMm", "volt"),
    "A": ("kmµ", "amp"),
    "Ah": ("m", "amp hour"),
    "Pa": ("kMG", "pascal"),
    "J": ("kMG", "joule"),
    "N": ("kM", "newton"),
    "Ω": ("kM", "ohm"),
    "F": ("mµn", "farad"),
    "eV": ("kMGT", "electron volt"),
    "B": ("kMGT", "byte"),
    "b": ("kMGT", "bit"),
    "bit": ("kMGT", "bit"),
    "bps": ("kMGT", "bit per second"),
    "Bps": ("kMGT", "byte per second"),
    "t": ("kM", "ton"),
    "cal": ("k", "calorie"),
    "mol": ("mµn", "mole"),
    "px": ("M", "pixel"),
    "Sv": ("mµ", "sievert"),
}
_OTHER = table(
    """
    cm centimeter, dm decimeter, cl centiliter, cL centiliter, dl deciliter, dL deciliter, hPa hectopascal, ha
    hectare, KB kilobyte, Kb kilobit, PB petabyte, KiB kibibyte, MiB mebibyte, GiB gibibyte, TiB tebibyte, in
    inch, ft foot, yd yard, yds yard, mi mile, nmi nautical mile, oz ounce, lb pound, lbs pound, gal gallon,
    qt quart, pt pint, tsp teaspoon, tbsp tablespoon, mcg microgram, cc cubic centimeter, sec second, secs
    second, min minute, mins minute, hr hour, hrs hour, yr year, yrs year, mo month, wk week, wks week, mos
    month, mph mile per hour, kph kilometer per hour, kmh kilometer per hour, kg kilogram, fps frame per
    second, rpm revolution per minute, RPM revolution per minute, bpm beat per minute, BPM beat per minute,
    psi pound per square inch, ppm part per million, ppb part per billion, dpi dot per inch, ppi pixel per
    inch, mpg mile per gallon, MPG mile per gallon, kn knot, kt knot, kts knot, dB decibel, db decibel, dBA
    decibel, lx lux, lm lumen, bar bar, mbar millibar, hp horsepower, HP horsepower, bhp brake horsepower, Nm
    newton meter, atm atmosphere, rad radian, deg degree, ct carat, Bq becquerel, °C degree
    Celsius, °F degree Fahrenheit, °K kelvin, ºC degree Celsius, ºF degree Fahrenheit, º degree, ℃ degree
    Celsius, ℉ degree Fahrenheit, % percent,
    ‰ per mille, pct percent, pp percentage point, bp basis point, bps basis point, sqft
    square foot, sqm square meter, sqkm square kilometer, mmHg millimeter of mercury, kHz kilohertz, Hz hertz,
    Pa pascal, Wh watt hour, Ah amp hour, cal calorie, mol mole, px pixel, eV electron volt, Sv sievert, µ
    micron, kPa kilopascal, ¢ cent, rps request per second, IU international unit, msec millisecond, fl.oz
    fluid ounce, kgs kilogram, kms kilometer, cms centimeter, gms gram, ml milliliter, KM kilometer, KG
    kilogram, CM centimeter, MM millimeter, ML milliliter, Km kilometer, Kg kilogram, pcs piece, Gbit gigabit,
    MP megapixel
    """
)
UNITS = (
    _SINGLE
    | {p + u: f"{_PREFIXES[p]}{name}" for u, (prefixes, name) in _PREFIXED.items() for p in prefixes}
    | _OTHER
)
"""Symbol to its name in the singular."""
SPACED_SINGLE = frozenset({"m", "g", "L", "l", "V", "W", "N", "J", "h", "°", "Ω", "t", '"', "ℓ"})
"""Single letters that are units behind a space, too; others are more often a letter ("10 A students")."""
_IRREGULAR = table(
    """
    foot feet, inch inches, hertz hertz, lux lux, percent percent
    """
)
_SAME = frozenset({"hertz", "lux", "percent", "per mille", "horsepower", "brake horsepower", "bar"})
_SQUARED = table(
    """
    ² square, ³ cubic, 2 square, 3 cubic, ^2 square, ^3 cubic
    """
)
_POWER = re.compile(r"([A-Za-zµ]{1,3})(²|³|\^2|\^3|2|3)")
_SQUARABLE = frozenset({"m", "km", "cm", "mm", "dm", "in", "ft", "yd", "mi", "µm", "nm"})
PER = table(
    """
    h hour, hr hour, s second, sec second, min minute, d day, wk week, mo month, mth month, yr year, y year, a
    year, p person, pp person, ea each, sf square foot, sq square, cu cubic
    """
)
PER_WORDS = word_set(
    """
    second minute hour day week month year night person unit user seat piece item kilo pound ounce gallon
    liter litre meter metre mile kilometer kilometre hectare acre capita head room page word share ton tonne
    bottle cup serving team member customer order student ticket gram inch foot visit session device license
    game match lap cycle request token image frame call case box pack bag set pair dozen barrel
    """
)
"""Words that "/" before them reads as "per"."""


def plural_unit(name: str) -> str:
    """The plural of a unit's name: "degree Celsius" is "degrees Celsius"."""
    head, _, tail = name.partition(" per ")
    if tail:
        return f"{plural_unit(head)} per {tail}"
    if name in _SAME or name.endswith("hertz"):
        return name
    if name.startswith("degree"):
        return name.replace("degree", "degrees", 1)
    if name.startswith("millimeter of"):
        return name.replace("meter", "meters", 1)
    head, _, last = name.rpartition(" ")
    last = _IRREGULAR.get(last) or plural(last)
    return f"{head} {last}" if head else last


def unit_name(symbol: str) -> str | None:
    """The name, in the singular, of a unit as written: "km", "m²", "MB/s", "kg/m³", "US$/h" not; None if
    there is no such unit.
    """
    if len(symbol) > 16:
        return None
    symbol = symbol.replace("μ", "µ")
    if "/" in symbol:
        head, _, tail = symbol.partition("/")
        top = unit_name(head)
        bottom = per_name(tail)
        return f"{top} per {bottom}" if top and bottom else None
    if symbol in UNITS:
        return UNITS[symbol]
    power = _POWER.fullmatch(symbol)
    if power and power[1] in _SQUARABLE:
        return f"{_SQUARED[power[2]]} {UNITS[power[1]]}"
    return None


def per_name(symbol: str) -> str | None:
    """What stands behind "/": a unit's name or a word ("month"); None if neither."""
    if symbol in PER:
        return PER[symbol]
    if symbol.lower() in PER_WORDS:
        return symbol
    if symbol in ("s²", "s^2", "s2"):
        return "second squared"
    return unit_name(symbol)
