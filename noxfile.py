# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]"]
# ///
"""Every command of the project. `nox -l` lists them; arguments after `--` go to the program behind a session."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project, editable, with extras such as "[indextts2]" and groups, at the tested versions."""
    # A process that compiles torch's modules anew takes 8 s to start and not 3; many images of Python have this set.
    session.env.update(PYTHONDONTWRITEBYTECODE="")
    wanted = nox.project.dependency_groups(PYPROJECT, *groups) if groups else ()
    session.install("-c", "constraints.txt", "-e", f".{extras}", *wanted)


@nox.session
def serve(session: nox.Session) -> None:
    """Speak: start the server on 127.0.0.1:8009 with the embedded voice."""
    asked = " ".join(session.posargs)
    model = next((model for model in ("indextts25", "indextts2") if model in asked), "")
    install(session, extras=f"[{model}]" if model else "")
    session.run("tts-serving", "serve", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test, a file to a worker, or what is named after `--`."""
    install(session, "tests", extras="[indextts25]")
    # Most tests wait for a process or a deadline, so three at once fill two cores. In the order of the folders the
    # longest files come first, and no worker is left with one at the end.
    session.run("pytest", *(session.posargs or ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")))


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that start no process and run no whole model: under 30 seconds on two cores."""
    install(session, "tests", extras="[indextts25]")
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


PAGES_ARE_THERE = """
from serving.http.page.files import MEDIA_TYPES, PAGES, STATIC
files = {path.name for path in STATIC.iterdir()}
assert "site-packages" in str(STATIC) and files >= {*PAGES.values(), "app.js", "worklet.js", "style.css"}, files
assert all(path.suffix in MEDIA_TYPES for path in STATIC.iterdir()), files
"""


def copy_as_docker(folder: Path) -> None:
    """What docs/deploy/Dockerfile copies into its build, anew: a wheel comes of that and of nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    dockerfile = Path("docs/deploy/Dockerfile").read_text(encoding="utf-8")
    for names, into in re.findall(r"^COPY ((?:[\w./]+ )+)([\w./]+)$", dockerfile, re.MULTILINE):
        for name in names.split():
            if Path(name).is_dir():
                shutil.copytree(name, folder / into)
            else:
                folder.mkdir(exist_ok=True)
                shutil.copy(name, folder / into)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel with the kernels of every tier from what the Dockerfile copies, install it as a user does, and
    speak from outside the repository, where there is no compiler and no home.
    """
    source = Path(session.create_tmp()) / "source"
    copy_as_docker(source)
    wheels = Path(session.create_tmp()) / "wheels"
    wheels.mkdir(exist_ok=True)
    for old in wheels.iterdir():
        old.unlink()
    session.install("uv")
    session.run("uv", "build", "--wheel", "-o", str(wheels), str(source), env={"TTS_WHEEL_KERNELS": "1"})
    (built,) = wheels.glob("*.whl")
    session.install("-c", "constraints.txt", "--reinstall-package", "tts-serving", str(built))
    session.chdir(session.create_tmp())
    bare = {"PATH": session.bin, "CC": "", "XDG_CACHE_HOME": "/dev/null"}
    for tier in ("", "scalar"):
        words = ("--set", "model.options.kernels=native", "-o", "morning.wav")
        session.run("tts-serving", "say", "Good morning.", *words, env={**bare, "TTS_NATIVE_TIER": tier})
    session.run("tts-serving", "profiles", "indextts2-default", silent=True)
    session.run("python", "-c", PAGES_ARE_THERE)


@nox.session
def browser(session: nox.Session) -> None:
    """Try the web pages in a headless Chromium: the one that CHROMIUM names, or the one on PATH."""
    install(session, "tests", "browser", extras="[indextts25]")
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """Try engines on a Ray of this machine's own: two replicas, one killed, one added. Some minutes on two cores."""
    install(session, "bench", "tests", extras="[cluster,indextts25]")
    session.run("pytest", "tests/cluster", *session.posargs)


YAML_STYLE = """{extends: default, rules: {
line-length: {max: 130}, document-start: disable, braces: {max-spaces-inside: 0}}}"""


@nox.session
def deploy(session: nox.Session) -> None:
    """Check the files of docs/deploy. promtool and systemd-analyze are asked where they are on PATH."""
    install(session, "deploy")
    folder = Path("docs/deploy")
    session.run("hadolint", "--strict-labels", "--failure-threshold", "style", str(folder / "Dockerfile"))
    session.run("yamllint", "-s", "-d", YAML_STYLE, str(folder))
    session.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(folder / "compose.yaml"))
    session.run("kubernetes-validate", "--strict", str(folder / "kubernetes.yaml"))
    # The unit names where the reader installs the server; here it lies in this session's environment.
    unit = Path(session.create_tmp()) / "tts-serving.service"
    text = (folder / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/tts/bin", f"{session.virtualenv.location}/bin"), encoding="utf-8")
    for command in (
        ("promtool", "check", "rules", str(folder / "alerts.yml")),
        ("promtool", "test", "rules", str(folder / "alerts_test.yml")),
        ("promtool", "check", "config", "--syntax-only", str(folder / "prometheus.yml")),
        ("systemd-analyze", "verify", str(unit)),
    ):
        if shutil.which(command[0]):
            session.run(*command, external=True)
        else:
            session.warn(f"no {command[0]} on PATH: left out: {' '.join(command)}")


@nox.session
def parity(session: nox.Session) -> None:
    """Compare IndexTTS2 and 2.5, stage by stage, with a package of the official code on small random weights."""
    install(session, "tests", "parity", extras="[indextts25]")
    # The official package brings a top-level module `tests` and warnings of its own.
    session.run(
        "python",
        "-m",
        "pytest",
        "tests/parity/indextts2",
        "tests/parity/indextts25",
        "-W",
        "default",
        *session.posargs,
    )


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
    install(session, "tests", extras="[indextts25]")
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
    install(session, "tests", "browser", "lint", extras="[indextts25]")
    session.run("mypy", *session.posargs)


@nox.session(tags=["bench"])
def bench(session: nox.Session) -> None:
    """The headline: this server against the plain reference server, with a report. --quick: under 3 minutes."""
    install(session, "bench")
    session.run("python", "-m", "bench", "run", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Do every fault to a server, and print what came of it. Words choose: `nox -s faults -- engine disk`."""
    install(session, "bench", extras="[indextts2]")
    session.run("python", "-m", "bench", "faults", *session.posargs)


@nox.session
def pressure(session: nox.Session) -> None:
    """Ten times more clients than fill the server; or a soak: `nox -s pressure -- soak --minutes 30`."""
    install(session, "bench")
    session.run("python", "-m", "bench", "pressure", *(session.posargs or ("overload",)))


@nox.session
def strange_texts(session: nox.Session) -> None:
    """Strange texts through the frontends, and through servers beside a neighbour who waits for his first sound."""
    install(session, "bench", extras="[indextts25]")
    session.run("python", "-m", "bench", "texts", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Requests drawn from the server's own OpenAPI document, by schemathesis: `nox -s fuzz -- --seed 1 2 3`."""
    install(session, "fuzz", extras="[indextts2]")
    session.run(
        "pytest", "-c", "tests/fuzz/pytest.ini", "tests/fuzz"
    )  # its complaints are true, or nothing is
    session.run("python", "-m", "bench", "fuzz", *session.posargs)


@nox.session(tags=["bench"])
def bench_capacity(session: nox.Session) -> None:
    """How many listeners this server and the plain one hold at a stated SLO. --quick: 10 minutes for both."""
    install(session, "bench")
    session.run("python", "-m", "bench", "capacity", *session.posargs)


@nox.session(tags=["bench"])
def bench_listen(session: nox.Session) -> None:
    """What a listener hears of one request at a time: onset, pauses, pace, words and their times."""
    install(session, "bench")
    session.run("python", "-m", "bench", "listen", *session.posargs)


@nox.session(tags=["bench"])
def bench_simulate(session: nox.Session) -> None:
    """Capacity in virtual time: what a device, a profile or a policy would hold, by a table of step costs."""
    install(session, "bench", extras="[indextts2]")
    session.run("python", "-m", "bench", "simulate", *session.posargs)


@nox.session(tags=["bench"])
def bench_cheats(session: nox.Session) -> None:
    """Servers that cheat, and honest ones, through the checks of the bench: all of them, in some minutes."""
    install(session, "bench")
    session.run("python", "-m", "bench", "cheats", *session.posargs)


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
    """Prove the gate: one commit against itself, with slow-downs planted."""
    install(session, "bench")
    session.run("python", "-m", "bench", "proof", *session.posargs)


@nox.session(tags=["bench"])
def bench_indextts2(session: nox.Session) -> None:
    """IndexTTS2 on this CPU, full size, random weights: our core against the official package."""
    install(session, "bench", "parity", extras="[indextts25]")
    session.run("python", "-m", "bench", "indextts2", *session.posargs)


@nox.session(tags=["bench"])
def bench_gpu(session: nox.Session) -> None:
    """IndexTTS2 on an NVIDIA GPU, offline: each part against its floor, one request, and streams."""
    install(session, "bench", "parity", extras="[indextts25]")
    session.run("python", "-m", "bench", "gpu", *session.posargs)
