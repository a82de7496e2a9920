"""An OpenSSH server of the tests' own, on loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from .processes import DEADLINE_SECONDS, until

# Where it is in nobody's PATH, it is here.
_PLACES = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
# As root, the server wants this empty folder; its service makes it.
_EMPTY = Path("/run/sshd")


def why_not_here() -> str | None:
    """Why there is no server, or None where there is one."""
    for tool in ("sshd", "ssh", "ssh-keygen"):
        if _tool(tool) is None:
            return f"{tool} is not installed"
    return None


def _tool(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(_PLACES))


class Server:
    """A server that lets in whoever has the key that it was started with.

    Attributes:
        port: Where it listens.
        key: The file of the key.
        known: The file that its own key is noted in.
    """

    def __init__(self, folder: Path) -> None:
        """Make the keys and start it."""
        self._folder = folder
        self.key = self._make_key("user")
        self.known = folder / "known"
        host_key = self._make_key("host")
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.known.write_text(f"[127.0.0.1]:{self.port} {host_key.with_suffix('.pub').read_text()}")
        self._configure(host_key)
        if os.geteuid() == 0:
            _EMPTY.mkdir(mode=0o755, exist_ok=True)
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [_tool("sshd"), "-D", "-e", "-f", str(folder / "config")], stderr=log
            )
        until(self._answers, "the server")
        assert self._process.poll() is None, (folder / "log").read_text()

    def _make_key(self, name: str) -> Path:
        path = self._folder / name
        command = [_tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, timeout=DEADLINE_SECONDS)
        return path

    def _configure(self, host_key: Path) -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {host_key}",
            f"AuthorizedKeysFile {self.key.with_suffix('.pub')}",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin prohibit-password",
            "PidFile none",
        ]
        (self._folder / "config").write_text("\n".join([*lines, ""]))

    def _answers(self) -> bool:
        with closing(socket.socket()) as client:
            return self._process.poll() is not None or client.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def spec(self) -> str:
        """What ``--tx`` takes for a worker behind it."""
        options = {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known,
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        given = " ".join(f"-o {name}={value}" for name, value in options.items())
        login = f"-F none -p {self.port} -i {self.key} {given} {getpass.getuser()}@127.0.0.1"
        # What xdist copies to the other side goes here, not into somebody's home.
        cache = self._folder / "remote"
        cache.mkdir(exist_ok=True)
        alone = "env:PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
        return f"ssh={login}//python={sys.executable}//chdir={cache}//{alone}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(DEADLINE_SECONDS)
