"""What a process is given, as bytes: UTF-8, as definition files are, whatever the locale says."""

from __future__ import annotations

import resource
from collections.abc import Mapping


def encoded(text: str) -> bytes:
    """A text as a process gets it; lone surrogates stand for bytes that are no text."""
    return text.encode("utf-8", "surrogateescape")


def encoded_environment(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """The same of a whole environment."""
    return {encoded(name): encoded(value) for name, value in environ.items()}


def excess(command: bytes, environ: Mapping[bytes, bytes]) -> str:
    """What of it is too long for the kernel, which has refused it and says no more than that.

    Args:
        command: The command line.
        environ: The environment.
    """
    # Linux takes so much in one piece, with the NUL at its end; other systems go by the whole alone.
    most = 32 * resource.getpagesize() - 1
    if len(command) > most:
        return f"the command has {len(command)} bytes, and {most} are taken"
    sizes = {name: len(name) + 1 + len(value) for name, value in environ.items()}
    largest = max(sizes, key=lambda name: sizes[name], default=b"")
    shown = largest.decode("utf-8", "replace")
    if sizes.get(largest, 0) > most:
        return f"the variable {shown} has {sizes[largest]} bytes with its name, and {most} are taken"
    together = len(command) + sum(sizes.values())
    return f"command and variables have {together} bytes together, {sizes.get(largest, 0)} of them in {shown}"
