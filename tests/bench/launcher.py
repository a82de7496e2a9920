"""A tiny parent for one measured process: ``launcher.py STDOUT STDERR PROGRAM ARGUMENT...``.

PROGRAM is a full path. Prints ``<wall seconds> <exit code> <peak bytes>``. It is a script of its own, because
on Linux a process begins with the high-water mark of the memory it was spawned from: the benchmark itself
would raise small peaks, while an interpreter without ``site`` and with three imports takes a few megabytes.
"""

import os
import sys
import time


def main(arguments: list[str]) -> None:
    """Run the command with stdin from the null device, wait for it and print its figures."""
    stdout, stderr, *command = arguments
    created = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, created, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, stderr, created, 0o644),
    ]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    # The kernels disagree on the unit: kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    print(wall, os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit)


if __name__ == "__main__":
    main(sys.argv[1:])
