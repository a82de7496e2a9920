"""How Cargo and Go modules are built, linted and tested."""

from __future__ import annotations

from collections.abc import Iterator

from codex_orchestrator.repository.commands import BuildStep, Candidate, Requirement
from codex_orchestrator.repository.tree import Tree

_CARGO = Requirement("program", "cargo", "install Rust")
_CLIPPY = Requirement("program", "cargo-clippy", "rustup component add clippy")
_RUSTFMT = Requirement("program", "cargo-fmt", "rustup component add rustfmt")
_GO = Requirement("program", "go", "install Go")
_GOFMT = Requirement("program", "gofmt", "install Go")
_GOLANGCI = Requirement("program", "golangci-lint", "install golangci-lint")
_RUSTFMT_FILES = ("rustfmt.toml", ".rustfmt.toml")
_GOLANGCI_FILES = tuple(f".golangci.{end}" for end in ("yml", "yaml", "toml", "json"))


def native_candidates(tree: Tree, step: BuildStep) -> Iterator[Candidate]:
    """What Cargo and Go themselves have for a step; formatting is part of linting."""
    if tree.first("Cargo.toml"):
        yield from _cargo(tree, step)
    if tree.first("go.mod"):
        yield from _go(tree, step)


def _cargo(tree: Tree, step: BuildStep) -> Iterator[Candidate]:
    everywhere = " --workspace" if "[workspace]" in (tree.text("Cargo.toml") or "") else ""
    if step in ("build", "test"):
        yield Candidate(f"cargo {step}{everywhere}", "there is a Cargo.toml", (_CARGO,))
    elif step == "lint":
        clippy = f"cargo clippy{everywhere} --all-targets"
        if configured := tree.first(*_RUSTFMT_FILES):
            why = f"there are a Cargo.toml and a {configured}"
            yield Candidate(f"cargo fmt --all --check && {clippy}", why, (_CARGO, _RUSTFMT, _CLIPPY))
        else:
            yield Candidate(clippy, "there is a Cargo.toml", (_CARGO, _CLIPPY))


def _go(tree: Tree, step: BuildStep) -> Iterator[Candidate]:
    if step in ("build", "test"):
        yield Candidate(f"go {step} ./...", "there is a go.mod", (_GO,))
    elif step == "lint":
        if configured := tree.first(*_GOLANGCI_FILES):
            yield Candidate("golangci-lint run", f"there is a {configured}", (_GO, _GOLANGCI))
        else:
            # Of copies of other people's modules, only go itself knows that they are not to be judged.
            formatted = (
                "" if tree.kind("vendor") == "folder" else 'test -z "$(gofmt -l . | tee /dev/stderr)" && '
            )
            needs = (_GO, _GOFMT) if formatted else (_GO,)
            yield Candidate(f"{formatted}go vet ./...", "there is a go.mod", needs)
