"""Recordings: the reader equals tonic's, and frames count every event once."""

from __future__ import annotations

import numpy as np
import pytest
from tonic.io import read_mnist_file

from hqc.data.events import EVENT, events_to_frames, read_events
from hqc.errors import UserError
from tests.conftest import NMNIST

FILES = sorted((NMNIST / "sample").rglob("*.bin"))


def test_there_are_100_recordings():
    assert len(FILES) == 100


def test_reads_what_tonic_reads():
    for file in FILES:
        np.testing.assert_array_equal(read_events(file), read_mnist_file(str(file), EVENT))


def test_timer_overflows_are_no_events(tmp_path):
    path = tmp_path / "overflow.bin"
    path.write_bytes(bytes([1, 2, 0x80, 0, 5, 0, 240, 0, 0, 0, 3, 4, 0, 1, 0]))
    events = read_events(path)
    np.testing.assert_array_equal(events, read_mnist_file(str(path), EVENT))
    assert events["t"].tolist() == [5, 8192 + 256]


def test_frames_count_every_event_in_its_step():
    events = read_events(FILES[0])
    frames = events_to_frames(events, 8, 34, 34)
    assert frames.shape == (8, 2, 34, 34)
    assert frames.sum() == len(events)
    first, last = events["t"].min(), events["t"].max()
    in_first = (events["t"] - first) * 8 < last - first + 1
    assert frames[0].sum() == in_first.sum()
    event = events[in_first][0]
    assert frames[0, event["p"], event["y"], event["x"]] > 0


def test_counts_saturate_and_no_events_are_no_frames():
    events = np.zeros(300, EVENT)
    assert events_to_frames(events, 2, 3, 3).max() == 255
    assert events_to_frames(events[:0], 2, 3, 3).sum() == 0


def test_empty_and_cut_files_are_refused(tmp_path):
    path = tmp_path / "x.bin"
    for content in (b"", b"123456"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not a whole number of 5-byte events"):
            read_events(path)
