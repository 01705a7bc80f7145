"""A terminal that a program's progress is shown on."""

import fcntl
import os
import pty
import struct
import subprocess
import termios


def terminal(columns):
    """Both ends of one of that width: what is shown, and where a program writes it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return master, slave


def killed_when_seen(command, word, deadline_s):
    """Kills the program once its terminal shows `word`; what it was shown until then."""
    master, slave = terminal(80)
    with subprocess.Popen([*map(str, command)], stderr=slave, stdout=subprocess.DEVNULL) as process:
        os.close(slave)
        seen = b""
        try:
            while word not in seen and (part := os.read(master, 65536)):
                seen += part
        except OSError:  # It ended without.
            pass
        process.kill()
        process.wait(deadline_s)
        os.close(master)
    return seen


def lines_seen(command, columns, deadline_s):
    """The exit code, and everything that a terminal of that width is shown on standard error, each
    state of its one line once."""
    master, slave = terminal(columns)
    with subprocess.Popen([*map(str, command)], stderr=slave, stdout=subprocess.DEVNULL) as process:
        os.close(slave)
        seen = b""
        try:
            while part := os.read(master, 65536):
                seen += part
        except OSError:  # The last one that had it open is gone.
            pass
        os.close(master)
        code = process.wait(deadline_s)
    assert b"\n" not in seen, seen
    return code, [line for line in seen.decode().split("\r\033[K") if line]
