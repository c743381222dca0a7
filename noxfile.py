# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]"]
# ///
"""Every command of the project. `nox -l` lists them; arguments after `--` go to the program behind a session."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project, editable, with extras such as "[indextts2]" and groups, at the tested versions."""
    wanted = nox.project.dependency_groups(PYPROJECT, *groups) if groups else ()
    session.install("-c", "constraints.txt", "-e", f".{extras}", *wanted)


@nox.session
def serve(session: nox.Session) -> None:
    """Speak: start the server on 127.0.0.1:8009 with the embedded voice."""
    install(session, extras="[indextts2]" if any("indextts2" in word for word in session.posargs) else "")
    session.run("tts-serving", "serve", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test."""
    install(session, "tests", extras="[indextts2]")
    session.run("pytest", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that start no process and run no whole model: under 30 seconds on two cores."""
    install(session, "tests", extras="[indextts2]")
    # Two workers with a thread each; more threads on two cores only wait for each other.
    session.run(
        "pytest",
        "tests/unit",
        "tests/http",
        "-m",
        "not slow",
        "-n",
        "2",
        *session.posargs,
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it as a user does, and speak from outside the repository."""
    session.install("-c", "constraints.txt", ".")
    session.chdir(session.create_tmp())
    session.run("tts-serving", "say", "Good morning.", "-o", "morning.wav")
    session.run("tts-serving", "profiles", "indextts2-default", silent=True)


@nox.session
def parity(session: nox.Session) -> None:
    """Compare IndexTTS2, stage by stage, with the official package on small random weights."""
    install(session, "tests", "parity", extras="[indextts2]")
    # The official package brings a top-level module `tests` and warnings of its own.
    session.run("python", "-m", "pytest", "tests/parity/indextts2", "-W", "default", *session.posargs)


@nox.session
def cuda_checks(session: nox.Session) -> None:
    """Judge the CUDA path without a GPU; `nox -s tests` runs these checks too."""
    install(session, "tests", extras="[indextts2]")
    session.run("pytest", "tests/cuda_checks", *session.posargs)


KERNEL_TESTS = (
    "tests/unit/hibari/test_kernels.py",
    "tests/unit/indextts2/cpu/test_flow_cpu.py",
    "tests/unit/indextts2/cpu/test_gpt_cpu.py",
    "tests/unit/indextts2/cpu/test_vocoder_cpu.py",
)
"""Those that run every function of every C file."""


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the kernels under the address and undefined-behaviour sanitizers of gcc."""
    install(session, "tests", extras="[indextts2]")
    runtime = session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True)
    session.run(
        "pytest",
        *(session.posargs or KERNEL_TESTS),
        env={
            "CC": "gcc",
            "TTS_NATIVE_FLAGS": "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
            "XDG_CACHE_HOME": session.create_tmp(),
            "LD_PRELOAD": str(runtime).strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python frees little of what it holds when it ends
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "OMP_WAIT_POLICY": "passive",  # a thread that spins costs a sanitized one its core
        },
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, of Python and C."""
    session.install("-c", "constraints.txt", "ruff", "clang-format")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    sources = sorted(str(path) for path in Path("serving").rglob("*") if path.suffix in (".c", ".h"))
    session.run("clang-format", "--dry-run", "--Werror", *sources)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "tests", "lint", extras="[indextts2]")
    session.run("mypy", *session.posargs)


@nox.session(tags=["bench"])
def bench(session: nox.Session) -> None:
    """The headline: this server against the plain reference server, with a report. --quick: under 3 minutes."""
    install(session, "bench")
    session.run("python", "-m", "bench", "run", *session.posargs)


@nox.session(tags=["bench"])
def bench_listen(session: nox.Session) -> None:
    """What a listener hears of one request at a time: onset, pauses, pace, words and their times."""
    install(session, "bench")
    session.run("python", "-m", "bench", "listen", *session.posargs)


@nox.session(tags=["bench"])
def bench_micro(session: nox.Session) -> None:
    """Time the parts alone (pytest-benchmark)."""
    install(session, "bench")
    session.run("python", "-m", "bench", "micro", *session.posargs)


@nox.session(tags=["bench"])
def bench_load(session: nox.Session) -> None:
    """Load the server with Locust users, headless or with Locust's own page."""
    install(session, "bench")
    session.run("python", "-m", "bench", "load", *session.posargs)


@nox.session(tags=["bench"])
def bench_sweep(session: nox.Session) -> None:
    """Turn the profile's switches on one at a time: what each brought."""
    install(session, "bench")
    session.run("python", "-m", "bench", "sweep", *session.posargs)


@nox.session(tags=["bench"])
def bench_compare(session: nox.Session) -> None:
    """The regression gate: base commit against head, interleaved on this machine."""
    install(session, "bench")
    session.run("python", "-m", "bench", "compare", *session.posargs)


@nox.session(tags=["bench"])
def bench_proof(session: nox.Session) -> None:
    """Prove the gate: head against itself, then with planted slow-downs."""
    install(session, "bench")
    session.run("python", "-m", "bench", "gate-proof", *session.posargs)


@nox.session(tags=["bench"])
def bench_indextts2(session: nox.Session) -> None:
    """IndexTTS2 on this CPU, full size, random weights: our core against the official package."""
    install(session, "bench", "parity", extras="[indextts2]")
    session.run("python", "-m", "bench", "indextts2", *session.posargs)


@nox.session(tags=["bench"])
def bench_gpu(session: nox.Session) -> None:
    """IndexTTS2 on an NVIDIA GPU, offline: each part against its floor, one request, and streams."""
    install(session, "bench", "parity", extras="[indextts2]")
    session.run("python", "-m", "bench", "gpu", *session.posargs)
