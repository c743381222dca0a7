"""Which commit is the base of a comparison, and a folder that holds it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CODE_PATHS = ("serving", "profiles", "pyproject.toml")
"""A change outside these cannot change the speed of the server. In a project without a server of its own every
file may be its model's."""


SHALLOW = "the clone is shallow: fetch more of it"


class NoBase(Exception):
    """There is nothing to compare with; the message says why."""

    def __init__(self, why: str, *, first: bool = False) -> None:
        super().__init__(why)
        self.first = first
        """It is the first commit of the code, and the whole history is there to tell."""


class GitFailed(ValueError):
    """A git command failed; the message is git's."""


def git(repo: Path, *arguments: str) -> str:
    """Standard output of a git command, stripped. Raises GitFailed."""
    try:
        command = ["git", "-C", str(repo), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except subprocess.CalledProcessError as error:
        raise GitFailed(f"git {arguments[0]}: {error.stderr.strip()}") from None
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None


def code_paths(repo: Path) -> tuple[str, ...]:
    """The paths whose change can change the speed."""
    return CODE_PATHS if (repo / "serving" / "__init__.py").is_file() else (".",)


def choose_base(repo: Path, revision: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The commit to compare the working tree with, as a full hash. The first rule that applies decides:

    1. `revision` (--base), else $BENCH_BASE, which CI sets to the tip before a push of several commits
       (all zeros, which some forges send for a new branch, count as unset).
    2. The merge base with the default branch of origin (origin/HEAD, origin/main, origin/master), if HEAD has
       code commits beyond it: the pull request, and the push that has not happened yet.
    3. HEAD, if the working tree has uncommitted changes of the code.
    4. The first parent of the newest commit that touched the code.

    Raises NoBase if the named revision is unknown, or the code has no earlier commit: because it is the first, or
    because a shallow clone cut it off.
    """
    paths = code_paths(repo)
    shallow = git(repo, "rev-parse", "--is-shallow-repository") == "true"
    named = revision or environ.get("BENCH_BASE", "")
    if named.strip("0"):
        found = _resolve(repo, named)
        if found is None:
            raise NoBase(
                f"no commit {named!r} in this repository" + (", and the clone is shallow" if shallow else "")
            )
        return found
    head = _resolve(repo, "HEAD")
    if head is None:
        raise NoBase("the repository has no commit yet")
    fork = _fork_point(repo, head, shallow=shallow)
    if fork is not None and git(repo, "rev-list", "-1", f"{fork}..{head}", "--", *paths):
        return fork
    if git(repo, "status", "--porcelain", "--", *paths):
        return head
    newest = git(repo, "rev-list", "-1", "--first-parent", head, "--", *paths)
    parent = _resolve(repo, f"{newest}^") if newest else None
    if parent is None:
        if shallow:
            raise NoBase(SHALLOW)
        raise NoBase("the code has no earlier commit", first=True)
    return parent


@contextmanager
def checkout(repo: Path, commit: str) -> Iterator[Path]:
    """A worktree of `commit` in a temporary folder, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-base-") as folder:
        tree = Path(folder) / "tree"
        git(repo, "worktree", "add", "--detach", "--force", str(tree), commit)
        try:
            yield tree
        finally:
            git(repo, "worktree", "remove", "--force", str(tree))


def describe(repo: Path) -> str:
    """Short hash of HEAD, with "+changes" if the code in the working tree differs from it."""
    dirty = git(repo, "status", "--porcelain", "--", *code_paths(repo))
    return git(repo, "rev-parse", "--short", "HEAD") + ("+changes" if dirty else "")


def _fork_point(repo: Path, head: str, *, shallow: bool) -> str | None:
    """Where HEAD left the default branch of origin; None without an origin or a common commit.

    Raises NoBase if a shallow clone hides the common commit.
    """
    for branch in ("origin/HEAD", "origin/main", "origin/master"):
        if _resolve(repo, branch) is not None:
            try:
                return git(repo, "merge-base", head, branch)
            except GitFailed:
                if shallow:
                    raise NoBase(SHALLOW) from None
                return None
    return None


def _resolve(repo: Path, revision: str) -> str | None:
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except GitFailed:
        return None
