"""What schemathesis draws for the formats that only this server has; its own process imports this module."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from bench.fuzz.recordings import VOICE, recording

_WORDS = ("Hello", "a", "It is 5 o'clock", "one two", "Zürich", "no", "x86", "I owe you $25.50")
_AROUND = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<[&`\\"), max_size=40)

# A text of marks alone is refused, rightly: beside whatever else, these hold a word.
schemathesis.openapi.format("speakable", st.tuples(_AROUND, st.sampled_from(_WORDS), _AROUND).map(" ".join))
schemathesis.openapi.format("recording", st.sampled_from([recording(4.0, 220), recording(6.0, 330)]))
schemathesis.openapi.format("consent", st.sampled_from(["true", "yes", "record 17", "Vertrag Nr. 9"]))
schemathesis.openapi.format("voice", st.just(VOICE))
