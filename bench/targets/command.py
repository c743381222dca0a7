"""`python -m bench targets`: what each adapter speaks to and needs, with a line to copy; and what a file says."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from bench.targets.spec import ADAPTERS, AdapterName, TargetError, read_targets


@dataclass(frozen=True, slots=True)
class _Page:
    what: str
    needs: str
    example: str


PAGES: dict[AdapterName, _Page] = {
    "tts": _Page(
        "POST /tts and /tts/stream with {text}: this server, the plain one, IndexTTS2's own servers. WAV.",
        "a URL",
        "--target http://127.0.0.1:8009",
    ),
    "openai": _Page(
        "POST /v1/audio/speech: OpenAI and the servers that copy its API. pcm (24000 Hz unless the answer or"
        " --sample-rate-hz says another), wav, flac, mp3, opus, aac; --sse for events.",
        "a URL with or without /v1; --model and --voice as the server demands; --key-env where it wants a key",
        "--target openai=openai:https://api.openai.com/v1 --model tts-1 --voice alloy --key-env OPENAI_API_KEY",
    ),
    "elevenlabs": _Page(
        "POST /v1/text-to-speech/VOICE/stream: ElevenLabs and its copies. pcm, wav, mp3, opus.",
        "--voice (its id), --key-env (sent as xi-api-key); --model is its model_id",
        "--target eleven=elevenlabs:https://api.elevenlabs.io --voice ID --model eleven_flash_v2_5"
        " --key-env ELEVENLABS_API_KEY",
    ),
    "omni": _Page(
        "WebSocket /v1/audio/speech/stream with the messages of vLLM-Omni: this server, vLLM-Omni. pcm.",
        "a URL; --word-interval-s for text that arrives word by word",
        "--target ws=omni:http://127.0.0.1:8009 --word-interval-s 0.05",
    ),
    "nari": _Page(
        "WebSocket /v1/audio/speech/ws with the messages of nari.speech.v1: this server, nari-qwen3-tts. pcm.",
        "a URL; --word-interval-s for text that arrives word by word",
        "--target nari=nari:http://127.0.0.1:8009 --word-interval-s 0.01",
    ),
    "http": _Page(
        "any other API over HTTP: method, path, body and the place of the audio (the body itself, or Base64 in"
        " JSON, events or lines) are written in a TOML file.",
        "a file with body or path that holds {text}; sample_rate_hz for raw samples",
        "--target piper.toml",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench targets`."""
    parser.add_argument(
        "file", nargs="*", metavar="FILE.toml", help="also check these and show what they say"
    )


def main(arguments: argparse.Namespace) -> int:
    """Print. Returns 1 if a file is wrong."""
    for name in ADAPTERS:
        page = PAGES[name]
        print(f"{name}\n  {page.what}\n  needs: {page.needs}\n  python -m bench run {page.example}\n")
    print("A key is named by the environment variable that holds it, and never printed or stored.")
    try:
        for target in read_targets(arguments.file):
            print(f"{target.name}: {json.dumps(target.described())}")
    except TargetError as error:
        print(f"bench: {error}")
        return 1
    return 0
