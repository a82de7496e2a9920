"""How Cargo and Go modules are built, linted and tested."""

from __future__ import annotations

from collections.abc import Iterator

from codex_orchestrator.repository.tree import Tree
from codex_orchestrator.repository.ways import Deed, Need, Way

_CARGO = Need("program", "cargo", "install Rust")
_CLIPPY = Need("program", "cargo-clippy", "rustup component add clippy")
_RUSTFMT = Need("program", "cargo-fmt", "rustup component add rustfmt")
_GO = Need("program", "go", "install Go")
_GOFMT = Need("program", "gofmt", "install Go")
_GOLANGCI = Need("program", "golangci-lint", "install golangci-lint")
_RUSTFMT_FILES = ("rustfmt.toml", ".rustfmt.toml")
_GOLANGCI_FILES = tuple(f".golangci.{end}" for end in ("yml", "yaml", "toml", "json"))


def native_ways(tree: Tree, deed: Deed) -> Iterator[Way]:
    """What Cargo and Go themselves have for a deed; formatting is part of linting."""
    if tree.first("Cargo.toml"):
        yield from _cargo(tree, deed)
    if tree.first("go.mod"):
        yield from _go(tree, deed)


def _cargo(tree: Tree, deed: Deed) -> Iterator[Way]:
    everywhere = " --workspace" if "[workspace]" in (tree.text("Cargo.toml") or "") else ""
    if deed in ("build", "test"):
        yield Way(f"cargo {deed}{everywhere}", "there is a Cargo.toml", (_CARGO,))
    elif deed == "lint":
        clippy = f"cargo clippy{everywhere} --all-targets"
        if configured := tree.first(*_RUSTFMT_FILES):
            why = f"there are a Cargo.toml and a {configured}"
            yield Way(f"cargo fmt --all --check && {clippy}", why, (_CARGO, _RUSTFMT, _CLIPPY))
        else:
            yield Way(clippy, "there is a Cargo.toml", (_CARGO, _CLIPPY))


def _go(tree: Tree, deed: Deed) -> Iterator[Way]:
    if deed in ("build", "test"):
        yield Way(f"go {deed} ./...", "there is a go.mod", (_GO,))
    elif deed == "lint":
        if configured := tree.first(*_GOLANGCI_FILES):
            yield Way("golangci-lint run", f"there is a {configured}", (_GO, _GOLANGCI))
        else:
            # Of copies of other people's modules, only go itself knows that they are not to be judged.
            formatted = (
                "" if tree.kind("vendor") == "folder" else 'test -z "$(gofmt -l . | tee /dev/stderr)" && '
            )
            needs = (_GO, _GOFMT) if formatted else (_GO,)
            yield Way(f"{formatted}go vet ./...", "there is a go.mod", needs)
