"""Which commit is the base of a comparison, and a folder that holds it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CODE_PATHS = ("serving", "profiles", "pyproject.toml")
"""A change outside these cannot change the speed of the server."""


class NoBase(Exception):
    """There is nothing to compare with; the message says why."""


def git(repo: Path, *arguments: str) -> str:
    """Standard output of a git command, stripped. Raises CalledProcessError."""
    command = ["git", "-C", str(repo), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def choose_base(repo: Path, revision: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The commit to compare the working tree with, as a full hash. The first rule that applies decides:

    1. `revision` (--base), else $BENCH_BASE, which CI sets to the tip before a push of several commits
       (all zeros, which some forges send for a new branch, count as unset).
    2. The merge base with the default branch of origin (origin/HEAD, origin/main, origin/master), if HEAD has
       code commits beyond it: the pull request, and the push that has not happened yet.
    3. HEAD, if the working tree has uncommitted changes of the code.
    4. The first parent of the newest commit that touched the code.

    Raises NoBase if the code has no earlier commit (the first commit, or a shallow clone that cut it off),
    and ValueError if the named revision is unknown.
    """
    named = revision or environ.get("BENCH_BASE", "")
    if named.strip("0"):
        found = _resolve(repo, named)
        if found is None:
            raise ValueError(f"base: no commit {named!r} in this repository")
        return found
    head = _resolve(repo, "HEAD")
    if head is None:
        raise NoBase("the repository has no commit yet")
    fork = _fork_point(repo, head)
    if fork is not None and git(repo, "rev-list", "-1", f"{fork}..{head}", "--", *CODE_PATHS):
        return fork
    if git(repo, "status", "--porcelain", "--", *CODE_PATHS):
        return head
    newest = git(repo, "rev-list", "-1", "--first-parent", head, "--", *CODE_PATHS)
    parent = _resolve(repo, f"{newest}^") if newest else None
    if parent is None:
        shallow = git(repo, "rev-parse", "--is-shallow-repository") == "true"
        raise NoBase(
            "the clone is shallow: fetch more of it" if shallow else "the code has no earlier commit"
        )
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
    dirty = git(repo, "status", "--porcelain", "--", *CODE_PATHS)
    return git(repo, "rev-parse", "--short", "HEAD") + ("+changes" if dirty else "")


def _fork_point(repo: Path, head: str) -> str | None:
    """Where HEAD left the default branch of origin; None without an origin or a common commit."""
    for branch in ("origin/HEAD", "origin/main", "origin/master"):
        if _resolve(repo, branch) is not None:
            try:
                return git(repo, "merge-base", head, branch)
            except subprocess.CalledProcessError:
                return None
    return None


def _resolve(repo: Path, revision: str) -> str | None:
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError:
        return None
