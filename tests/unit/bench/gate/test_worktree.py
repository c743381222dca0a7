"""Which commit the gate compares with, in real repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.worktree import GitFailed, NoBase, checkout, choose_base, code_paths, describe, git


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit of code."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "--initial-branch=main")
    (path / "serving").mkdir()
    (path / "serving" / "__init__.py").write_text("", encoding="utf-8")
    git(path, "add", "serving")
    commit(path, "serving/engine.py", "speed = 1")
    return path


def commit(repo: Path, name: str, text: str) -> str:
    """Write a file and commit it; returns the hash."""
    path = repo / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    git(repo, "add", name)
    git(repo, "commit", "-m", f"change {name}")
    return git(repo, "rev-parse", "HEAD")


def test_the_first_commit_has_no_base(repo: Path) -> None:
    with pytest.raises(NoBase, match="no earlier commit") as caught:
        choose_base(repo, environ={})
    assert caught.value.first


def test_an_empty_repository_has_no_base(tmp_path: Path) -> None:
    git(tmp_path, "init")
    with pytest.raises(NoBase, match="no commit yet") as caught:
        choose_base(tmp_path, environ={})
    assert not caught.value.first


def test_what_is_no_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="not a git repository"):
        choose_base(tmp_path, environ={})


def test_the_commit_before_the_last_change_of_code(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    commit(repo, "serving/engine.py", "speed = 2")
    commit(repo, "README.md", "words")
    commit(repo, "docs/more.md", "words")
    assert choose_base(repo, environ={}) != git(repo, "rev-parse", "HEAD")
    assert choose_base(repo, environ={}) == first


def test_uncommitted_changes_are_compared_with_head(repo: Path) -> None:
    head = commit(repo, "serving/engine.py", "speed = 2")
    (repo / "serving/engine.py").write_text("speed = 3", encoding="utf-8")
    assert choose_base(repo, environ={}) == head
    assert describe(repo).endswith("+changes")


def test_a_branch_is_compared_with_where_it_left(repo: Path, tmp_path: Path) -> None:
    fork = git(repo, "rev-parse", "HEAD")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", str(repo), str(clone))
    commit(clone, "serving/engine.py", "speed = 2")
    commit(clone, "serving/engine.py", "speed = 3")
    assert choose_base(clone, environ={}) == fork


def test_the_named_base_wins(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    second = commit(repo, "serving/engine.py", "speed = 2")
    commit(repo, "serving/engine.py", "speed = 3")
    assert choose_base(repo, "HEAD~2", {"BENCH_BASE": second}) == first
    assert choose_base(repo, None, {"BENCH_BASE": first}) == first
    assert choose_base(repo, None, {"BENCH_BASE": "0" * 40}) == second


def test_an_unknown_base_is_no_base(repo: Path) -> None:
    with pytest.raises(NoBase, match="no commit 'nowhere'") as caught:
        choose_base(repo, "nowhere", {})
    assert not caught.value.first


def test_a_shallow_clone_says_so(repo: Path, tmp_path: Path) -> None:
    commit(repo, "serving/engine.py", "speed = 2")
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth=1", f"file://{repo}", str(clone))
    with pytest.raises(NoBase, match="shallow") as caught:
        choose_base(clone, environ={})
    assert not caught.value.first


def test_a_shallow_clone_of_a_branch_says_so(repo: Path, tmp_path: Path) -> None:
    """Where a branch left main is cut off: its own last commit is not the base of the whole branch."""
    commit(repo, "serving/engine.py", "speed = 2")
    git(repo, "checkout", "-b", "change", "HEAD~1")
    for number in range(3, 6):
        commit(repo, "serving/engine.py", f"speed = {number}")
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth=2", "--no-single-branch", f"file://{repo}", str(clone))
    git(clone, "remote", "set-head", "origin", "main")
    with pytest.raises(NoBase, match="shallow"):
        choose_base(clone, environ={})


def test_in_a_project_without_a_server_every_file_is_code(tmp_path: Path, repo: Path) -> None:
    assert code_paths(tmp_path) == (".",)
    assert "serving" in code_paths(repo)


def test_a_checkout_holds_the_commit_and_is_gone_afterwards(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    commit(repo, "serving/engine.py", "speed = 2")
    with checkout(repo, first) as tree:
        assert (tree / "serving/engine.py").read_text(encoding="utf-8") == "speed = 1"
    assert not tree.exists()
    assert git(repo, "worktree", "list").count("\n") == 0


def test_without_git_nothing_can_be_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitFailed, match="git is not installed"):
        git(tmp_path, "status")
