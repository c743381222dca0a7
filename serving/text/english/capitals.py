"""Words in capitals: initialisms are spelled, acronyms and shouted words are read."""

from __future__ import annotations

import re

from serving.text.english.tokens import Reading, Tokens, at, before, starts_sentence, table, word_set

_INITIALISMS = word_set(
    """
    AI USA UK EU UN UAE API CEO CFO CTO COO CIO ATM TV ID IQ UI UX OS PC AC DJ VIP ETA IOU IPO LED CIA FBI
    NBA NFL NHL MLB ABC URL URI SOS UFO EPA ICU AED AMA IDE IVF OCD ADHD ASAP DIY FAQ AKA OEM SUV USB GPU
    CPU BBC CNN NBC CBS HBO NHS RSVP FIFO IT US AM PM AD BC BCE CE EST IRS IEEE IP IO OMG LOL FYI BTW AWOL
    AA AAA ACLU AFC AFK AP APR ATP BA BAE BMI BMW EDM BYOB CAD CBD CMO COB COD CPA CPI CTA CV DNA DOA DOB
    DOI DUI EDT EEG EKG EOD ER ESL ESPN ETF EV FAA FDA FIO FOMC GDP GMO GPA GPS GOP GPT GUI HIV HOA HR IBM
    ICE IM IMO INS IPA IRA IRL ISO ISP IUD KO KPI LA LCD LGBT LLC LLM MBA MIA MIT MOU MRI MVP NATO NDA NGO
    NSA NY NYC OA OBE OCR OD OOP OP ORM PA PDF PE PHD PHP PIA PO POV PR PTA PTO QA QR RFID RIP ROI RPG RPI
    RV SAE SAT SEO SIA SMS SQL SSN SSO TA TBA TBD TED TOS UCLA UEFA UFC UPS USAF USDA USPS UTC UV VA VAT VC
    VHS VIN VO VPN WBA WHO WIP WTO WWE XML XXL YA EOF IDK IIRC EULA IOS OAUTH IEA ESA NSU ECB IMF AOL USSR
    UAV AIS ADA EIA EMEA IAM AWS EC UFOS ARIA ABI BIOS OLED IPAD NIH USD EUR INR AUD IBAN BIC AUC ROC RNA
    EMT AOC ABV AOE IED IDNA
    """
) - {
    "NATO",
    "SAT",
    "TED",
    "ICE",
    "BAE",
    "SIA",
    "PIA",
    "BIOS",
    "OLED",
    "ARIA",
    "IPAD",
    "FIFO",
    "IRA",
    "UEFA",
    "AWOL",
}
"""Initialisms that a reader would take for a word by their letters."""
_AMBIGUOUS = word_set(
    """
    IT US AM PM AD WHO ID OS HR PA LA OP ER ICE EST PE PO IM INS APR AA IP PR AC TA QA UP
    """
)
"""Initialisms that are words where everything is shouted."""
ACRONYMS = word_set(
    """
    GNU NASA NATO PIN COVID AIDS OPEC UNICEF UNESCO FIFA SWAT SCUBA RADAR LASER CAPTCHA LAN WAN RAM ROM SIM GIF
    JPEG BIOS ASCII UEFA OLED FEMA OSHA NAFTA SARS MERS NIMBY YOLO FOMO POTUS SCOTUS FLOTUS NAND LIDAR SONAR
    HIPAA COBOL BASIC JSON YAML CUDA REST SOAP WASP NASDAQ ASEAN DARPA CERN MIDI WIFI HIP UNIX CRISPR FIFO
    LIFO ALGOL MOMA IKEA LEGO SAP VISA OK TOEFL GMAT SAT BART MENSA NASCAR PETA RICO GUI IRA ZIP RAID SPAM
    TASER TED ICE CAD DOS COVAX MASH ARPA CSS PEP HUD NAS GAN WAF WEP FOSS NICU PACU
    """
) - {"CSS"}
_RARE = word_set("NAS GAN WAF WEP FOSS NICU PACU BART COVAX CUDA IKEA JSON YAML MOMA TOEFL WIFI ARPA")
"""Acronyms that phonemizers take for initialisms unless they are written as words."""
_SHORT_WORDS = word_set(
    """
    a i am an as at ax be by do go he hi ho if in is it me my no of oh on or ox so to up us we ya act add
    age ago aid aim air ale all and ant any ape arc are ark arm art ash ask ate awe axe bad bag ban bar bat
    bay bed bee beg bet bid big bin bit bow box boy bud bug bus but buy bye cab can cap car cat cop cot cow
    cry cup cut dad dam day den dew did die dig dim dip dog dot dry due dug dye ear eat egg ego elf end era
    eve eye fan far fat fax fed fee few fig fin fit fix flu fly fog for fox fry fun fur gap gas gay get gin
    god got gum gun gut guy gym had ham has hat hay hen her hey hid him hip his hit hog hop hot how hug hut
    ice ill ink inn its jam jar jaw jet job jog joy jug key kid kin kit lab lap law lay led leg let lid lie
    lip lit log lot low mad man map mat may men met mix mob mom mud mug nap net new nod nor not now nut oak
    oar odd off oil old one our out owe owl own pad pan par pat paw pay pea pen pet pie pig pin pit pop pot
    pro put rag ran rat raw ray red rib rid rim rip rob rod rot row rub rug run sad sat saw say sea see set
    sew she shy sin sip sir sit six ski sky sly sob son sow spy sub sue sum sun tag tan tap tar tax tea ten
    the tie tin tip toe ton too top toy try tub tug two use van vet via vow war was wax way web wed wet who
    why wig win wit woe won wow yes yet you zip zoo able also area away baby back ball bank base been best
    body book both busy call came card care case city come cool dead deal dear does done door down drop each
    easy else even ever face fact fail fall fast fear feel feet fire five food four free from full game gave
    girl give goes gold gone good grew half hand hard hate have head hear heat held hell help here hero high
    hold home hope hour huge idea into item join just keep kept kill kind knew know last late lead left less
    life like line list live long look lose loss lost lots love luck made mail main make many mean meet mind
    miss more most move much must name near need news next nice nine none note okay once only open over page
    paid part pass past plan play plus poor push quit rain read real ride ring rise road rock room rule safe
    said sale same save seen self sell send sent shop show shut sick side sign site size slow soon sort star
    stay step stop such sure take talk tell test text than that them then they this time told took true turn
    type upon used very vote wait wake walk wall want warm wash wear week well went were west what when whom
    wife will wind wine wise wish with wood word work year your zero evil edge east onto oral oven ugly unit
    urge user vary army aunt auto avoid actor about above after again alone angry apply arise aside audio
    every enter event equal early eight enjoy extra empty image issue under until upper usual other order
    offer often ideal input
    """
)
_VOWELS = frozenset("AEIOUY")
_ONSETS = word_set(
    """
    BL BR CH CL CR DR DW FL FR GL GR KN PH PL PR QU SC SH SK SL SM SN SP ST SW TH TR TW WH WR SCH SCR SHR
    SPL SPR SQU STR THR
    """
)
_PRONOUNCED = re.compile(r"([B-DF-HJ-NP-TV-Z]{0,3})([AEIOUY]{1,2})([B-DF-HJ-NP-TV-Z]{1,3})([AEIOUY]?)")
_PLURAL = re.compile(r"([A-Z]{2,6})(s|'s|’s)")
_DOTTED = re.compile(r"[A-Za-z](?:\.[A-Za-z])+|Ph\.D|[BM]\.Sc|LL\.[BMD]|Ed\.D|Pharm\.D")
_DOTTED_COMPOUND = re.compile(r"((?:[A-Z]\.){2,4})(?:(-[A-Za-z]{2,}(?:-[A-Za-z]+)*)|(['’]s))")
_MIXED = table(
    "pH P H, PhD P H D, iOS i O S, macOS mac O S, iPadOS iPad O S, WWI World War one, WWII World War two"
)
"""Names in capitals and small letters, and others that are read in full."""
_NAMES = {
    **{
        "A": "ˈA",
        "B": "bˈi",
        "C": "sˈi",
        "D": "dˈi",
        "E": "ˈi",
        "F": "ˈɛf",
        "G": "ʤˈi",
        "H": "ˈAʧ",
        "I": "ˈI",
    },
    **{
        "J": "ʤˈA",
        "K": "kˈA",
        "L": "ˈɛl",
        "M": "ˈɛm",
        "N": "ˈɛn",
        "O": "ˈO",
        "P": "pˈi",
        "Q": "kjˈu",
        "R": "ˈɑɹ",
    },
    **{"S": "ˈɛs", "T": "tˈi", "U": "jˈu", "V": "vˈi", "W": "dˈʌbᵊlju", "X": "ˈɛks", "Y": "wˈI", "Z": "zˈi"},
}
"""The names of the letters in misaki's symbols."""


def letters(text: str) -> str:
    """ "FBI" is "F B I"."""
    return " ".join(symbol.upper() for symbol in text if symbol.isalpha())


def letter_phonemes(text: str, suffix: str = "") -> str | None:
    """An initialism as one word with its stress on the last letter; None where a letter has no name."""
    names = [_NAMES.get(symbol.upper()) for symbol in text if symbol.isalpha()]
    known = [name for name in names if name]
    if len(known) != len(names) or not known:
        return None
    phonemes = "".join(name.replace("ˈ", "ˌ") for name in known[:-1]) + known[-1]
    if not suffix:
        return phonemes
    last = text[-1].upper()
    return phonemes + ("ᵻz" if last in "SXH" else "s" if last == "F" else "z")


def is_initialism(word: str, *, shouted: bool = False) -> bool:
    """Whether a word in capitals is spelled letter by letter."""
    if shouted:
        return (
            word in _INITIALISMS and word not in _AMBIGUOUS and word.lower() not in _SHORT_WORDS
        ) or _VOWELS.isdisjoint(word)
    if word in ACRONYMS:
        return False
    if word in _INITIALISMS:
        return True
    if word.lower() in _SHORT_WORDS:
        return False
    return not _is_pronounceable(word)


def _is_pronounceable(word: str) -> bool:
    if _VOWELS.isdisjoint(word):
        return False
    if len(word) >= 5:
        return True
    match = _PRONOUNCED.fullmatch(word)
    if len(word) < 4 or not match:
        return False
    onset, _, coda, _ = match.groups()
    return (len(onset) < 2 or onset in _ONSETS) and len(coda) < 3


def letter_word(piece: str, *, alone: bool = True) -> str:
    """A run of letters beside digits: spelled if it is an initialism or has no vowel, else a word."""
    if len(piece) == 1:
        return piece.upper() if alone or piece.isupper() else piece
    upper = piece.upper()
    if piece.isupper():
        return letters(piece) if is_initialism(piece) else piece
    if len(piece) <= 3 and (_VOWELS.isdisjoint(upper) or upper in _INITIALISMS):
        return letters(piece)
    return piece


def is_dotted(core: str) -> bool:
    """ "U.S", "p.m", "Ph.D": the period behind it is the token's punctuation."""
    return "." in core and len(core) < 20 and _DOTTED.fullmatch(core) is not None


def is_shouted(tokens: Tokens) -> bool:
    """Whether the whole sentence is in capitals, and not one initialism or title of them."""
    words = [token.core for token in tokens if token.core.isalpha()]
    upper = sum(len(word) for word in words if word.isupper())
    plain = sum(1 for word in words if word.isupper() and word.lower() in _SHORT_WORDS)
    longest = max(map(len, words), default=0)
    return (
        len(words) > 1
        and upper == sum(map(len, words))
        and ((longest > 4 and len(words) < 4) or plain > 1 or (plain > 0 and len(words) > 2) or upper > 16)
    )


def read_capitals(tokens: Tokens, index: int, *, shouted: bool) -> Reading | None:
    """ "FBI", "PCs", "U.S.", "NASA", "STOP"."""
    token = tokens[index]
    core = token.core
    if is_dotted(core):
        return _dotted(tokens, index)
    compound = _DOTTED_COMPOUND.fullmatch(core) if "." in core else None
    if compound:  # "U.S.-based", "U.S.'s"
        name, tail, possessive = letters(compound[1]), compound[2], compound[3]
        if possessive:
            return Reading(name + "'s", 1, None, letter_phonemes(compound[1], "s"))
        return Reading(" ".join([name, *(_word(part, shouted=shouted) for part in tail[1:].split("-"))]))
    if core in _MIXED:
        return Reading(_MIXED[core])
    if core in ("A-Z", "A–Z", "A-z"):
        return Reading("A to Z")
    plural = _PLURAL.fullmatch(core)
    if plural and not shouted and is_initialism(plural[1]):
        return Reading(letters(plural[1]) + plural[2], 1, None, letter_phonemes(plural[1], "s"))
    bare, suffix = (core[:-2], core[-2:]) if core[-2:] in ("'S", "’S") else (core, "")
    if len(bare) < 2 or not bare.isalpha() or not bare.isupper() or not bare.isascii():
        parts = core.replace("'", "").split("-")
        if shouted and core.isupper() and core.isascii() and len(core) > 1 and "." not in core:
            return Reading(core.lower())
        if (
            len(parts) > 1
            and core.isascii()
            and any(len(part) > 1 and part.isupper() for part in parts)
            and all(map(str.isalpha, parts))
        ):
            return Reading(" ".join(_word(part, shouted=shouted) for part in core.split("-")))
        return None
    if len(bare) > 40:
        return None
    if _is_stressed(tokens, index, bare, suffix, shouted=shouted):
        return Reading(core.lower())
    named = bare in ("US", "IT") and before(tokens, index) in ("the", "an")
    if named or is_initialism(bare, shouted=shouted):
        return Reading(letters(bare) + suffix.lower(), 1, None, letter_phonemes(bare, suffix))
    if bare in ACRONYMS and not (shouted and bare.lower() in _SHORT_WORDS):
        # A phonemizer spells capitals that it does not know.
        return Reading(bare.capitalize() + suffix.lower()) if bare in _RARE else None
    if shouted or bare.lower() in _SHORT_WORDS:
        return Reading(core.lower() if index or len(tokens) > 1 else core.capitalize())
    return Reading(bare.capitalize() + suffix.lower())


def _is_stressed(tokens: Tokens, index: int, bare: str, suffix: str, *, shouted: bool) -> bool:
    """Whether capitals that could be letters are a word said with force: "I AM", "IT'S", "DO IT"."""
    if shouted:
        return False
    previous = at(tokens, index - 1)
    if bare == "AM":
        return previous.lower == "i"
    if bare == "IT" and suffix:
        return True
    loud = len(previous.core) > 1 and previous.core.isupper() and previous.lower in _SHORT_WORDS
    return bare in ("IT", "US") and loud and not previous.trail and previous.lower not in ("an", "the")


def _word(part: str, *, shouted: bool) -> str:
    if len(part) < 2 or not part.isupper() or part in ACRONYMS:
        return part
    if is_initialism(part, shouted=shouted):
        return letters(part)
    return part.lower() if part.lower() in _SHORT_WORDS or shouted else part


def _dotted(tokens: Tokens, index: int) -> Reading:
    """ "U.S.", "Ph.D." and "J.R.R.": letters; the last period stays where the sentence ends."""
    token = tokens[index]
    trail = token.trail
    following = at(tokens, index + 1)
    if trail[:1] == "." and following.core and not starts_sentence(following):
        trail = trail[1:]
    return Reading(letters(token.core), 1, trail, letter_phonemes(token.core))
