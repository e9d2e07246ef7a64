"""Makes N-MNIST's five bytes an event of text, for dvs_stream.

camera_tool | python3 pack.py WIDTH HEIGHT | dvs_stream

A line is `x y polarity microseconds`, and WIDTH and HEIGHT are the camera's: its pixels are scaled
to the model's sensor. Times may grow without end.
"""

import sys

MODEL_WIDTH = MODEL_HEIGHT = 34
OVERFLOW = bytes([0, 240, 0, 0, 0])
OVERFLOW_MICROSECONDS = 1 << 13  # added by it to all times that follow


def main(width, height):
    """Write every event as it comes, its time counted from the first one."""
    begin = None
    for line in sys.stdin:
        try:
            x, y, polarity, time = map(int, line.split())
        except ValueError:
            raise SystemExit(f"not x, y, polarity and microseconds: {line.strip()}") from None
        if not (0 <= x < width and 0 <= y < height and polarity in (0, 1)):
            raise SystemExit(f"no event of a camera of {width} x {height}: {line.strip()}")
        begin = time if begin is None else begin
        while time - begin >= OVERFLOW_MICROSECONDS:
            sys.stdout.buffer.write(OVERFLOW)
            begin += OVERFLOW_MICROSECONDS
        since = max(time - begin, 0)  # a late event counts as one of now
        x, y = x * MODEL_WIDTH // width, y * MODEL_HEIGHT // height
        sys.stdout.buffer.write(bytes([x, y, polarity << 7, since >> 8, since & 255]))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not all(size.isdecimal() for size in sys.argv[1:]):
        raise SystemExit(__doc__)
    main(*map(int, sys.argv[1:]))
