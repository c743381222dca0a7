"""Profiles: what they resolve to, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.profile import ProfileError, load_profile, profile_names


def test_every_profile_loads() -> None:
    assert {"default", "eager", "compile", "cuda-graph"} <= set(profile_names())
    for name in profile_names():
        profile = load_profile(name, environ={})
        assert profile.name == name
        assert profile.description


def test_each_optimisation_is_one_switch() -> None:
    eager, compiled, graphs = (load_profile(n, environ={}).engine for n in ("eager", "compile", "cuda-graph"))
    assert (eager.compile, eager.cuda_graphs) == (False, False)
    assert (compiled.compile, compiled.cuda_graphs) == (True, False)
    assert (graphs.compile, graphs.cuda_graphs, graphs.device) == (False, True, "cuda")


def test_overrides_win_over_environment_and_file() -> None:
    environ = {"TTS_ENGINE__MAX_SLOTS": "5", "TTS_HTTP__PORT": "9001", "TTS_UNRELATED": "x"}
    profile = load_profile("default", ["engine.max_slots=7", "engine.device=cuda:1"], environ)
    assert profile.engine.max_slots == 7
    assert profile.http.port == 9001
    assert profile.engine.device == "cuda:1"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("engine.max_slts=3", "max_slts"),
        ("engine.max_slots=0", "$.engine.max_slots"),
        ("engine.max_slots=4097", "$.engine.max_slots"),
        ("engine.threads=1025", "$.engine.threads"),
        ("engine.workers=1025", "$.engine.workers"),
        ("engine.max_slots=true", "$.engine.max_slots"),
        ("engine.max_slots=many", "$.engine.max_slots"),
        ("engine.dtype=float8", "$.engine.dtype"),
        ("engine=4", "$.engine"),
        ("engine.max_slots.deep=4", "max_slots is a value"),
        ("engine.max_step_units.deep=4", "$.engine.max_step_units"),
        ("http.port=70000", "$.http.port"),
        ("streaming.first_chunk_s=nan", "$.streaming.first_chunk_s"),
        ("admission.max_audio_s=inf", "$.admission.max_audio_s"),
        ("engine.max_slots", "--set engine.max_slots"),
    ],
)
def test_a_bad_override_is_named(override: str, named: str) -> None:
    with pytest.raises(ProfileError) as raised:
        load_profile("default", [override], {})
    assert named in str(raised.value)


def test_a_bad_environment_variable_is_named() -> None:
    with pytest.raises(ProfileError, match="max_slts"):
        load_profile("default", environ={"TTS_ENGINE__MAX_SLTS": "3"})


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'fast'.*default.*eager"):
        load_profile("fast", environ={})


def test_extends_is_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('extends = "eager"\n[engine]\nmax_slots = 3\nthreads = 2\n')
    (tmp_path / "top.toml").write_text('extends = "base.toml"\n[engine]\nmax_slots = 4\n')
    profile = load_profile(str(tmp_path / "top.toml"), environ={})
    assert profile.name == "top"
    assert (profile.engine.max_slots, profile.engine.threads) == (4, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "loop.toml"', "extends itself"),
        ("extends = 3", "extends"),
        ("[engine", "loop.toml"),
        ("[engine]\nspeed = 1", "speed"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "loop.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        load_profile(str(path), environ={})


def test_the_name_of_a_file_in_another_encoding_can_be_sent_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "prüf.toml").write_text("")
    in_ascii = str(tmp_path / "pr\udcc3\udcbcf.toml")  # as Python reads it with LC_ALL=C
    assert load_profile(in_ascii, environ={}).name == "prüf"
