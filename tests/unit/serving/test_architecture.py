"""The import rules of docs/architecture.md, checked on the source."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "serving").rglob("*.py"))

# Layers from the leaves up; a module may import its own layer's package and any layer to its left.
LEAVES = (
    "serving.protocol",
    "serving.profile",
    "serving.access",
    "serving.observe",
    "serving.audio",
    "serving.text",
    "serving.voices",
)
LAYERS = (
    LEAVES,
    ("serving.native",),
    (
        "serving.models",
        "serving.request",
        "serving.openai",
        "serving.query",
        "serving.spell",
        "serving.captions",
        "serving.batch",
        "serving.cache",
    ),
    ("serving.engine",),
    ("serving.cluster",),
    ("serving.http",),
    ("serving.cli", "serving.say", "serving.book", "serving.lines", "serving.flags", "serving.__main__"),
)

TORCH_FREE = (
    "serving/protocol.py",
    "serving/profile.py",
    "serving/models/base.py",
    "serving/engine/scheduler.py",
    "serving/engine/admission.py",
    "serving/engine/client.py",
    "serving/engine/many.py",
    "serving/engine/utterance.py",
    "serving/engine/watch.py",
    "serving/access",
    "serving/observe",
    "serving/audio",
    "serving/voices",
    "serving/text",
    "serving/request.py",
    "serving/openai.py",
    "serving/query.py",
    "serving/batch.py",
    "serving/cache",
    "serving/cluster",
    "serving/http",
)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, typing_too: bool) -> Iterator[str]:
    """Names of the modules that a file imports, those under `if TYPE_CHECKING` only when asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden and not typing_too:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int | None:
    for depth, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return depth
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    own = layer_of(module_name(path))
    if own is None:
        return
    for name in imports(path, typing_too=True):
        other = layer_of(name)
        assert other is None or other <= own, f"{module_name(path)} imports {name}, which is above it"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_torch_and_litestar_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    names = {name.split(".")[0] for name in imports(path, typing_too=False)}
    if relative.startswith(TORCH_FREE) or relative.endswith("/frontend.py"):
        assert "torch" not in names, f"{relative} imports torch"
    if not relative.startswith("serving/http/"):
        assert "litestar" not in names, f"{relative} imports litestar"
    if not relative.startswith("serving/cluster/"):
        assert "ray" not in names, f"{relative} imports ray"


def test_the_http_side_knows_no_cluster() -> None:
    """Engines on Ray are one Life of an EngineClient among others, which only the command line chooses."""
    users = {
        path.relative_to(ROOT / "serving").as_posix()
        for path in SOURCES
        if any(name.startswith("serving.cluster") for name in imports(path, typing_too=True))
        and "cluster" not in path.relative_to(ROOT / "serving").parts
    }
    assert users == {"cli.py"}


BUILT_ON = {"indextts25": "indextts2"}
"""A release that is another with some parts replaced. What it is built on does not know it."""


def test_models_do_not_know_each_other() -> None:
    for path in (ROOT / "serving" / "models").rglob("*.py"):
        family = path.relative_to(ROOT / "serving" / "models").parts[0]
        for name in imports(path, typing_too=True):
            if name.startswith("serving.models.") and not family.endswith(".py"):
                part = name.split(".")[2]
                assert (
                    part in {family, BUILT_ON.get(family), "base"}
                    or not (ROOT / "serving" / "models" / part).is_dir()
                ), f"{path.name} of {family} imports {name}"


def test_kernels_include_headers_of_their_own_room_or_of_native() -> None:
    """So C follows the rule of the Python beside it: no model's kernel knows another model, native knows none."""
    native = ROOT / "serving" / "native"
    kernels = [path for path in (ROOT / "serving").rglob("*") if path.suffix in (".c", ".h")]
    assert any(path.suffix == ".c" for path in kernels)
    for path in kernels:
        for name in re.findall(r'^\s*#\s*include\s*"(.*)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            homes = [
                folder
                for folder in (path.parent, native)
                if name == Path(name).name and (folder / name).is_file()
            ]
            assert homes, (
                f"{path.relative_to(ROOT)} includes {name}, which is neither beside it nor in serving/native"
            )


def sources(*suffixes: str) -> Iterator[Path]:
    for folder in ("serving", "bench", "tests"):
        for suffix in suffixes:
            yield from (ROOT / folder).rglob(f"*{suffix}")


def test_files_stay_readable() -> None:
    """Files near 250 lines; 350 is where a reader gives up."""
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in sources(".py", ".c", ".h")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long


def test_folders_stay_rooms() -> None:
    """At most 15 files of code in a folder."""
    files = Counter(path.parent.relative_to(ROOT).as_posix() for path in sources(".py", ".c", ".h"))
    assert not {folder: count for folder, count in files.items() if count > 15}


ELSEWHERE = {
    "browser": "needs a Chromium: nox -s browser, in CI where there is one",
    "cluster": "needs Ray: nox -s cluster",
    "fuzz": "needs schemathesis: nox -s fuzz",
}
"""Folders of tests that `nox -s tests` leaves out, and why."""


def test_every_folder_of_tests_is_run() -> None:
    """A folder that no list names would be run by nobody, and everything in it would look as if it passed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    paths = project["tool"]["pytest"]["ini_options"]["testpaths"]
    folders = {path.relative_to(ROOT).parts[1] for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders == {Path(path).name for path in paths} | ELSEWHERE.keys()
    sessions = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert not [name for name in ELSEWHERE if f'"tests/{name}"' not in sessions]
