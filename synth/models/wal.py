"""SQLite's write-ahead log, as far as it must be known to tell a power loss from damage.

SQLite's file format (sqlite.org/fileformat2.html), section 4: frames, each with the checksum of all before.
SQLite takes the log up to the first frame that is not as its checksum says, and drops the rest in silence.
That is right after a power loss, which can tear the last transaction alone, and wrong where others follow,
or where the header is gone: SQLite waits until that is on disk before it writes the first frame.
"""

import struct
from pathlib import Path
from typing import BinaryIO

HEADER, FRAME_HEADER = 32, 24
BYTE_ORDER = {0x377F0682: "<", 0x377F0683: ">"}


def is_broken_inside(path: Path) -> bool:
    """Whether transactions of the log at `path` stand behind what is broken. Reads the whole log."""
    with path.open("rb") as file:
        header = file.read(HEADER)
        if not is_header(header):
            return bool(file.read(1))
        order = BYTE_ORDER[int.from_bytes(header[:4])]
        frame_size = FRAME_HEADER + int.from_bytes(header[8:12])
        sums = _sums((0, 0), header[:24], order)
        salt = header[16:24]
        while len(frame := file.read(frame_size)) == frame_size:
            sums = _sums(_sums(sums, frame[:8], order), frame[FRAME_HEADER:], order)
            if frame[8:16] != salt or struct.unpack(">2I", frame[16:24]) != sums:
                return _ends(frame, salt) + _commits(file, frame_size, salt) > 1
    return False


def is_header(header: bytes) -> bool:
    """Whether a log can begin with `header`, as its checksum says."""
    order = BYTE_ORDER.get(int.from_bytes(header[:4]), "")
    if len(header) < HEADER or not order:
        return False
    return struct.unpack(">2I", header[24:]) == _sums((0, 0), header[:24], order)


def _commits(file: BinaryIO, frame_size: int, salt: bytes) -> int:
    """How many of the frames that follow end a transaction of this log."""
    count = 0
    while len(frame := file.read(frame_size)) == frame_size:
        count += _ends(frame, salt)
    return count


def _ends(frame: bytes, salt: bytes) -> bool:
    return frame[8:16] == salt and frame[4:8] != bytes(4)


def _sums(sums: tuple[int, int], content: bytes, order: str) -> tuple[int, int]:
    """SQLite's checksum of `content`, going on from `sums`."""
    one, two = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
