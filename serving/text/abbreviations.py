"""Words of English that decide whether a stop or a line end is the end of a sentence."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


TITLES = word_set(
    """
    mr mrs ms mx dr prof st ste gen col capt cmdr lt sgt cpl pvt maj adm rev hon sen rep gov pres supt
    insp fr sr br mt ft messrs mme mlle mgr msgr amb atty sra srta
    drs sens reps profs gens govs det
    """
)
"""Before a name."""
STREETS = word_set(
    """
    st dr ave av blvd rd ln ct pl sq hwy pkwy ter cir apt ste
    """
)
"""After the name of a street they may end a sentence."""
AFTER_STREET = word_set(
    """
    apt ste suite unit n s e w ne nw se sw north south east west
    """
)
"""They go on with the address."""
SHORT_BOOKS = word_set(
    """
    gen exod lev num deut josh judg chron neh ps prov eccl isa jer lam ezek dan hos matt lk jn rom cor gal
    eph phil col thess tim heb jas pet rev
    """
)
"""Before a chapter and a verse they do not end a sentence."""
BEFORE_NUMBER = word_set(
    """
    no nos nr p pp pg vol vols ch chap sec sect fig figs art arts eq eqs ex exs par para app ref refs
    est tab op ed v ver vers ca c cir approx appr max min avg tel ext rm apt ste bldg fl lot opp opus ser pt
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun ps gen
    est lev num deut cor rom matt rev psa prov bk col item cat sched stat flt rte hwy prob thm prop rs str ave
    """
)
"""A number after one of these goes with it."""
UNITS = word_set(
    """
    in ft yd mi oz lb lbs hr hrs min mins sec secs gal qt pt cm mm km kg g m l ml sq cu mph rpm wt vol
    """
)
"""After a number their stop is that of an abbreviation."""
NEVER_END = word_set(
    """
    e.g i.e eg ie vs cf viz al approx ca i.a a.k.a c.f esp incl excl resp
    """
)
MAY_END = word_set(
    """
    inc ltd co corp llc plc jr sr bros dept est univ assn assoc mfg intl natl govt hq esq ph.d m.d b.a
    m.a b.sc m.sc d.c ave blvd rd ln hwy rte mts mtn ind dist div
    """
)
"""In a sentence or at its end; the next word tells."""
AFTER_TIME = word_set(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july
    august september october november december est edt cst cdt mst mdt pst pdt gmt utc bst cet cest ist
    jst et ct mt pt eastern central mountain pacific greenwich
    """
)
"""After a.m. and p.m. these go on with the sentence."""
STARTERS = word_set(
    """
    the a an he she it they we i you this that these those there here in on at by but and or so if when
    while after before for however what who whom whose why how where which then my his her our your
    their its as to from with without no yes not please now some many most all both each every any few
    one although though because since until unless once also another such do does did is are was were
    has have had can could will would should may might must let let's it's he's she's i'm i've i'll
    we're they're you're don't that's there's what's nobody everyone somebody someone nothing everything
    today tomorrow yesterday later meanwhile instead still perhaps maybe of about during under over
    between among against through
    """
)
"""With a capital they begin a sentence or a line, whatever stands before."""
JOINERS = word_set(
    """
    the a an and or but nor of to in on at by for from with without into onto over under between than
    that which who whose as if is are was were be been being has have had will would can could should
    may might must my your his her its our their this these those not very so such no any some each
    every about after before because while when where until since near through
    """
)
"""At the end of a line they say that the next line goes on."""
BEFORE_LETTER = word_set(
    """
    plan vitamin type section group part class grade hepatitis letter point option appendix exhibit
    model team block gate level phase category figure side unit schedule room building hall wing
    """
)
"""After these a single letter is a name of its own, and no initial."""
BEFORE_NO = word_set(
    """
    said say says saying or answered answers replied yes told and but shouted whispered
    him her me us them you head simply nodded voted screamed responded repeated
    """
)
"""After these "no." is the word."""
SHORT_WORDS = word_set(
    """
    am an as at be by do go he hi if in is it me my no of oh ok on or ox so to up us we i a ad id mm hm
    """
)
CONJUNCTIONS = word_set(
    """
    and but or so because which while then when where that although though if
    """
)
"""A sentence without punctuation is best cut before one of these."""
COMPOUND_STARTS = word_set(
    """
    well self half high low long short cross twenty thirty forty fifty sixty seventy eighty ninety mother
    father brother sister son daughter old hard soft ill good bad best first second third last full cold
    warm hot deep wide far near early late slow fast free two three four five six seven eight nine one
    user real open state world home built left right north south east west middle vice quasi great blue
    green white black dark light bright
    """
)
"""A hyphen after one of these at a line end is mostly that of a compound."""
COMPOUND_ENDS = word_set(
    """
    called known to time times way term based off half year years old aged made style like being level scale class wide
    friendly related driven looking minded handed eyed law sized quality speed end date hand hander shot out fits
    ordinate operative operate pilot founder author worker wife husband president chairman member
    """
)
"""A hyphen before one of these is kept too, where the word before is one that also begins longer words."""
AMBIGUOUS_STARTS = word_set(
    "so up all ex co pre post non anti time man hand new red mid part ten one out over under on off"
)
COMPOUND_WORDS = word_set(
    """
    making maker makers taking keeping saving sharing solving seeking based oriented related driven friendly
    aware proof wide effective benefit specific dependent
    """
)
"""A hyphen before one of these is kept after any longer word."""
COMPOUND_MIDDLES = word_set("in of the to and by on up at off out a or for down over it all you so")
"""Between two hyphens they stand in a compound."""
WORD_ENDS = word_set(
    """
    ness ish ly ing ings er ers est ary ment ments less ity ern erner hood ship ships age ages ful fully teen
    teenth teens ty tieth ties way ways ware self selves ism ist ists ized ize izing able ability ening ened
    en ens ened ward wards ling ally al ation ations house houses mail ster
    """
)
"""They end a longer word: a hyphen before one is that of the line end."""
