"""Times of sentences and words, with the tone model, whose every character lasts 50 ms; and what will be said."""

from __future__ import annotations

import email
import email.policy
import io
import json
import re
from email.message import EmailMessage
from typing import Any

import pytest
import soundfile

from serving.http.app import create_app
from tests.support import JSON, Answer, Api, running, tone_profile

TEXT = "Dr. Lee paid $5. Then she\nleft."
"""As spoken: `Doctor Lee paid five dollars.` and `Then she left.`"""
SPOKEN = ["Doctor Lee paid five dollars.", "Then she left."]
TOKEN_S = 0.05


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body, EmailMessage, policy=email.policy.HTTP)
    assert message.is_multipart()
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in message.iter_parts()]  # type: ignore[misc]


def words(sentence: dict[str, Any]) -> list[tuple[str, float, float]]:
    return [(word["text"], word["start_s"], word["end_s"]) for word in sentence["words"]]


async def test_tts_answers_audio_and_times_of_the_text_as_written(api: Api) -> None:
    answer = await api.call("POST", "/tts", {"text": TEXT, "timestamps": "word"})
    assert answer.status == 200
    (kind, wave), (json_kind, times) = parts_of(answer)
    assert (kind, json_kind) == ("audio/wav", "application/json")
    samples, rate = soundfile.read(io.BytesIO(wave))
    first, second = json.loads(times)["sentences"]
    assert first["text"] == "Dr. Lee paid $5."
    assert words(first) == [
        ("Dr.", 0.0, 0.3),
        ("Lee", 0.35, 0.5),
        ("paid", 0.55, 0.75),
        ("$5.", 0.8, pytest.approx(0.05 * len(SPOKEN[0]))),
    ]
    assert second["text"] == "Then she\nleft."
    assert [text for text, _, _ in words(second)] == ["Then", "she", "left."]
    assert second["start_s"] == pytest.approx(TOKEN_S * len(SPOKEN[0]))
    assert second["end_s"] == pytest.approx(len(samples) / rate)
    assert TEXT[second["words"][2]["start"] : second["words"][2]["end"]] == "left."


async def test_a_stream_tells_the_times_of_a_sentence_before_its_samples(api: Api) -> None:
    plain = await api.call("POST", "/tts/stream", {"text": TEXT})
    answer = await api.call("POST", "/tts/stream", {"text": TEXT, "timestamps": "sentence"})
    kinds = [kind for kind, _ in parts_of(answer)]
    assert kinds.count("application/json") == 2
    assert kinds[:2] == ["audio/wav", "application/json"], "a header, then the times of the first sentence"
    assert kinds[-1] == "audio/wav"
    assert b"".join(content for kind, content in parts_of(answer) if kind == "audio/wav") == plain.body
    told = [json.loads(content) for kind, content in parts_of(answer) if kind == "application/json"]
    assert [sentence["text"] for sentence in told] == ["Dr. Lee paid $5.", "Then she\nleft."]
    assert not any(sentence["words"] for sentence in told)


async def test_pauses_shift_the_times() -> None:
    profile = tone_profile("text.pauses.sentence_s=0.4")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", "/tts/captions", {"text": "Hi. [pause 2s] You. And me."})
    starts = [sentence["start_s"] for sentence in answer.json["sentences"]]
    assert starts == pytest.approx([0.0, 0.15 + 2.0, 0.15 + 2.0 + 0.2 + 0.4])


def accepting(kind: str) -> tuple[tuple[bytes, bytes], ...]:
    return (*JSON, (b"accept", kind.encode()))


async def test_captions_as_webvtt_and_srt(api: Api) -> None:
    vtt = await api.call("POST", "/tts/captions", {"text": "Five < six. Yes."}, accepting("text/vtt"))
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.body.decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.950\nFive <00:00:00.250>&lt; <00:00:00.750>six.\n\n"
        "00:00:00.950 --> 00:00:01.150\nYes.\n"
    )
    srt = await api.call("POST", "/tts/captions", {"text": TEXT}, accepting("application/x-subrip"))
    assert re.match(
        r"1\n00:00:00,000 --> 00:00:01,450\nDr\. Lee paid \$5\.\n\n2\n00:00:01,450 --> ", srt.body.decode()
    )
    assert "Then she left." in srt.body.decode()


async def test_a_sentence_of_several_segments_is_told_as_one(api: Api) -> None:
    text = "one two three four five six seven eight nine ten."
    answer = await api.call("POST", "/tts/captions", {"text": text, "max_text_tokens_per_segment": 20})
    (sentence,) = answer.json["sentences"]
    assert sentence["text"] == text
    assert sentence["end_s"] == pytest.approx(TOKEN_S * len(text))
    assert next(text for text, _, _ in words(sentence)) == "one"


async def test_bad_values_name_the_field(api: Api) -> None:
    answer = await api.call("POST", "/tts", {"text": "x", "timestamps": "letter"})
    assert (answer.status, answer.problem["field"]) == (400, "timestamps")
    answer = await api.call("POST", "/spell", {"text": "x", "text_format": "rtf"})
    assert (answer.status, answer.problem["field"]) == (400, "text_format")


async def test_spell_shows_what_will_be_said(api: Api) -> None:
    answer = await api.call("POST", "/spell", {"text": "Dr. Lee paid $5.\n\nSay [Nguyen](/wˈɪn/)."})
    assert answer.status == 200
    spelled = answer.json
    assert spelled["spoken"] == "Doctor Lee paid five dollars. Say Nguyen."
    assert next(segment["text"] for segment in spelled["segments"]) == "Dr. Lee paid $5."
    assert spelled["segments"][1]["phonemes"] == {"Nguyen.": "wˈɪn"}
    assert spelled["dropped"] == []
    plain = await api.call("POST", "/spell", {"text": "**$5**", "normalize": False})
    assert plain.json["spoken"] == "**$5**"


async def test_a_script_that_the_voice_cannot_speak(api: Api) -> None:
    some = await api.call("POST", "/tts", {"text": "Say 你好 to Li."})
    assert some.status == 200
    assert some.headers["x-dropped-text"] == "Han"
    none = await api.call("POST", "/tts/stream", {"text": "Привет, мир."})
    assert (none.status, none.problem["field"]) == (400, "text")
    assert "does not speak Cyrillic" in none.problem["detail"]
