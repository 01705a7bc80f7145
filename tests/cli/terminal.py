"""A terminal that a program's progress is shown on."""

import fcntl
import os
import pty
import struct
import subprocess
import termios


def lines_seen(command, columns, deadline_s):
    """The exit code, and everything that a terminal of that width is shown on standard error, each
    state of its one line once."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
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
