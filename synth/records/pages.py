"""A ledger's records read from the bytes of its pages, whatever SQLite thinks of the file.

SQLite's file format (sqlite.org/fileformat2.html): B-tree pages and cells, section 1.6; records, 2.1; the
write-ahead log, 4. Every image of every page is looked at, in the file and in the log, since of a damaged
file the tree says little; checksums are not looked at, since a record proves itself: its key is the SHA-256
of its request. So records also come out that were set aside or dropped since, and one may come out twice.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from synth.models.wal import FRAME_HEADER, HEADER, is_header

INTERIOR, LEAF, TABLE_LEAF = 2, 10, 13  # of an index, which `outcomes` is; the leaves of a plain table
ROOT = 2  # where the table of outcomes begins, since it is made first
KEY_DIGITS = 64
MOST_BYTES = 1 << 30
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None


class NoRecord(Exception):
    """Bytes that are no record."""


@dataclass(frozen=True, slots=True)
class Found:
    """A cell of a page.

    Attributes:
        is_outcome: it is of the table of outcomes, else of a plain table, such as of those set aside.
        readings: its record; several where an older page may belong to it, none where a page is missing.
        key: what its first column says, also if the rest is missing; "" if it says nothing.
    """

    is_outcome: bool
    readings: tuple[tuple[Value, ...], ...]
    key: str


@dataclass
class Pages:
    """The pages of a ledger: `main`, its file, and `log`, what was written since; either may be missing.

    Attributes:
        size: bytes a page.
        newest: where the newest image of a page begins in the log, by the page's number.
        older: the same for all other images that belong to the log.
    """

    main: BinaryIO | None
    log: BinaryIO | None
    size: int = 4096
    newest: dict[int, int] = field(default_factory=dict)
    older: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size = _page_size(_at(self.main, 0, 100), _at(self.log, 0, HEADER))
        self._read_log()

    def _read_log(self) -> None:
        salt = self._salt()
        for place, frame in self._frames():
            if frame[8:16] == salt:  # of another generation it is written back already
                number = int.from_bytes(frame[:4])
                self.older += [self.newest[number]] if number in self.newest else []
                self.newest[number] = place + FRAME_HEADER

    def _salt(self) -> bytes:
        """What marks the log's frames: as the header says, else the first that go together."""
        header = _at(self.log, 0, HEADER)
        if is_header(header):
            return header[16:24]
        salts = (frame[8:16] for _, frame in self._frames())
        return next((one for one, next_ in pairwise(salts) if one == next_ != bytes(8)), b"")

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Where the frames of the log begin, and their headers."""
        place = HEADER
        while len(frame := _at(self.log, place, FRAME_HEADER)) == FRAME_HEADER:
            yield place, frame
            place += FRAME_HEADER + self.size

    @property
    def count(self) -> int:
        """How many pages the file has."""
        return self.main.seek(0, 2) // self.size if self.main else 0

    def page(self, number: int, *, newest: bool = True) -> bytes:
        """The page `number`, 1 or more, as it is in the log or, unless `newest`, in the file."""
        if newest and number in self.newest:
            return _at(self.log, self.newest[number], self.size)
        return _at(self.main, (number - 1) * self.size, self.size) if number > 0 else b""

    def images(self) -> Iterator[bytes]:
        """Every image of every page; all that is older than the file's in the log comes first."""
        for place in self.older:
            yield _at(self.log, place, self.size)
        for number in range(1, self.count + 1):
            yield self.page(number, newest=False)
        for place in self.newest.values():
            yield _at(self.log, place, self.size)

    def cells(self) -> Iterator[Found]:
        """Every cell of every image of a page that can hold records."""
        for image in self.images():
            kind = image[0] if image else 0
            if kind in (INTERIOR, LEAF, TABLE_LEAF):
                for place in _pointers(image):
                    yield self._cell(image, place, kind)

    def _cell(self, image: bytes, place: int, kind: int) -> Found:
        try:
            length, place = _varint(image, place + (4 if kind == INTERIOR else 0))
            if kind == TABLE_LEAF:
                _, place = _varint(image, place)
            local = _local(length, self.size, is_table=kind == TABLE_LEAF)
        except NoRecord:
            return Found(kind != TABLE_LEAF, (), "")
        begun = image[place : place + local]
        wholes = dict.fromkeys(self._wholes(begun, length, image[place + local : place + local + 4]))
        readings = tuple(values for whole in wholes for values in _values(whole))
        return Found(kind != TABLE_LEAF, readings, _key(begun))

    def _wholes(self, begun: bytes, length: int, overflow: bytes) -> Iterator[bytes]:
        """The record that begins with `begun`, with what overflowed to other pages, if they are there."""
        if len(begun) == length:
            yield begun
            return
        for newest in (True, False):
            whole, number = bytearray(begun), int.from_bytes(overflow)
            while len(whole) < length and len(page := self.page(number, newest=newest)) == self.size:
                whole += page[4 : 4 + length - len(whole)]
                number = int.from_bytes(page[:4])
            if len(whole) == length:
                yield bytes(whole)

    def lost_leaves(self) -> tuple[int, int]:
        """How many pages should hold outcomes, by what a page above says, and hold nothing that reads.

        Returns also about how many outcomes that were, going by the other pages.
        """
        children: set[int] = set()
        leaves = held = 0
        for number in range(1, max(self.count, *self.newest, 0) + 1):
            image = self.page(number)
            if image[:1] == bytes([LEAF]):
                leaves, held = leaves + 1, held + len(_pointers(image))
            elif image[:1] == bytes([INTERIOR]):
                children.update(int.from_bytes(image[place : place + 4]) for place in _pointers(image))
                children.add(int.from_bytes(image[8:12]))
        children |= {ROOT} if leaves else set()
        lost = sum(self.page(child)[:1] not in (bytes([LEAF]), bytes([INTERIOR])) for child in children)
        return lost, round(lost * held / leaves) if leaves else lost


def opened(main: Path, log: Path) -> Pages:
    """The pages of the ledger at `main`, with its log. Close both files of it."""
    files = [path.open("rb") if path.exists() else None for path in (main, log)]
    return Pages(files[0], files[1])


def _at(file: BinaryIO | None, place: int, length: int) -> bytes:
    if file is None:
        return b""
    file.seek(place)
    return file.read(length)


def _page_size(header: bytes, log_header: bytes) -> int:
    """What the file says, else what the log says, else what SQLite takes by itself."""
    said = int.from_bytes(header[16:18]), int.from_bytes(log_header[8:12])
    sizes = [65536 if size == 1 else size for size in said]
    return next((size for size in sizes if 512 <= size <= 65536 and size & (size - 1) == 0), 4096)


def _pointers(image: bytes) -> list[int]:
    """Where the cells of a page begin."""
    begin = 12 if image[0] == INTERIOR else 8
    count = min(int.from_bytes(image[3:5]), (len(image) - begin) // 2)
    places = struct.unpack(f">{count}H", image[begin : begin + 2 * count])
    return [place for place in places if begin + 2 * count <= place < len(image)]


def _varint(image: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for count in range(9):
        if place + count >= len(image):
            raise NoRecord
        byte = image[place + count]
        if count == 8:
            return value << 8 | byte, place + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + count + 1
    raise AssertionError


def _local(length: int, size: int, *, is_table: bool) -> int:
    """How many of a record's bytes are in the page itself."""
    if length > MOST_BYTES:
        raise NoRecord
    most = size - 35 if is_table else (size - 12) * 64 // 255 - 23
    least = (size - 12) * 32 // 255 - 23
    if length <= most:
        return length
    wanted = least + (length - least) % (size - 4)
    return wanted if wanted <= most else least


def _columns(record: bytes) -> tuple[list[int], int]:
    """The types of a record's columns, and where the first one begins."""
    end, place = _varint(record, 0)
    if end > len(record):
        raise NoRecord
    types = []
    while place < end:
        type_, place = _varint(record, place)
        types.append(type_)
    return types, end


def _key(begun: bytes) -> str:
    """The first column of a record of which only the beginning is there."""
    try:
        types, place = _columns(begun)
        value, _ = _value(begun, place, types[0])
    except (NoRecord, IndexError):
        return ""
    return value if isinstance(value, str) and len(value) == KEY_DIGITS else ""


def _values(record: bytes) -> Iterator[tuple[Value, ...]]:
    """The columns of a record, if it is one; of a later release's those that this one knows."""
    try:
        types, place = _columns(record)
        values: list[Value] = []
        for type_ in types[:8]:
            value, place = _value(record, place, type_)
            values.append(value)
    except NoRecord:
        return
    if len(values) == 8:
        yield _as_declared(values)


def _as_declared(values: list[Value]) -> tuple[Value, ...]:
    """A whole number in a column of reals is kept as an integer, to save space."""
    return tuple(
        float(value) if index in (5, 6) and isinstance(value, int) else value
        for index, value in enumerate(values)
    )


def _value(record: bytes, place: int, type_: int) -> tuple[Value, int]:
    """The value of a column, and where it ends."""
    if type_ in (0, 8, 9):
        return CONSTANTS[type_], place
    length = INTEGERS.get(type_, 8 if type_ == 7 else (type_ - 12) // 2)
    raw = record[place : place + length]
    if type_ in (10, 11) or len(raw) < length:
        raise NoRecord
    return _decoded(raw, type_), place + length


CONSTANTS: Mapping[int, Value] = {0: None, 8: 0, 9: 1}


def _decoded(raw: bytes, type_: int) -> Value:
    if type_ in INTEGERS:
        return int.from_bytes(raw, signed=True)
    if type_ == 7:
        real: float = struct.unpack(">d", raw)[0]
        return real
    if type_ % 2 == 0:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NoRecord from error
