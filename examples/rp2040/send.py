"""Sends recordings of N-MNIST to a board that runs this example, and prints its answers.

python3 send.py /dev/ttyACM0 RECORDING.bin ...
"""

import os
import select
import struct
import sys
import termios
import tty

PATIENCE = 60


def ask(port, recording):
    """The board's answer to a recording: a line."""
    if len(recording) % 5:
        raise SystemExit(f"{len(recording)} bytes are not a whole number of 5-byte events")
    left = struct.pack("<I", len(recording) // 5) + recording
    while left:
        left = left[os.write(port, left) :]
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([port], [], [], PATIENCE)[0]:
            raise SystemExit(f"no answer within {PATIENCE} s")
        got = os.read(port, 1)
        if not got:
            raise SystemExit("the board is gone")
        line += got
    return line.decode().strip()


def main(device, *files):
    """Send files to a device, one by one."""
    port = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    termios.tcflush(port, termios.TCIOFLUSH)
    for file in files:
        with open(file, "rb") as opened:
            print(f"{file}: {ask(port, opened.read())}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
