"""Ties a child to its supervisor, then becomes the child: `tether.py PARENT_PID NAME=VALUE... -- PROGRAM ARGUMENT...`.

On Linux the kernel kills the child when the supervisor ends in any way, `SIGKILL` included; elsewhere only an orderly
stop reaches it. A program of its own and not a hook between fork and exec, which is unsafe while other threads run.
Run by path with `python -I -S`, so it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Bind to the parent, set the environment, and exec; returns only when that fails."""
    parent, cut = int(arguments[0]), arguments.index("--")
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before the binding held
            return 1
    for pair in arguments[1:cut]:
        name, _, value = pair.partition("=")
        os.environ[name] = value
    command = arguments[cut + 1 :]
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
