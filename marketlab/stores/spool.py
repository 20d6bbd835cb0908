"""Records on disk until a store has acknowledged them.

    <root>/<writer>/lock                  held (flock) by the process that looks after this directory
    <root>/<writer>/000000000001.segment  frames: length (4 bytes), crc32 (4 bytes), payload; little endian

A payload is a msgpack array of records as `marketlab.records` packs them. Rules:

1. A frame counts when it is whole. What a kill leaves half written is a torn tail: readers stop there.
2. Segment numbers only rise; (writer, number) names a batch for good, for whoever hands it to the store.
3. A segment is removed after the store has all of it, never before. Whoever reads a store reads the segments first
   and then the store, so a record is always in one of the two.
4. A directory without a living owner is adopted by the next writer, under its old name.
"""

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple, Self
from uuid import uuid4

import msgspec

from marketlab.errors import StoreUnavailable
from marketlab.records import Record
from marketlab.stores import crashpoints

__all__ = ["Contents", "Spool", "owners", "read_segment", "segments", "unavailable", "write_all"]

_HEADER = struct.Struct("<II")
_SUFFIX = ".segment"
_LOOKS = 1_000
_LOOK_S = 0.001
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])
_RAW = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ONE = msgspec.msgpack.Decoder(Record)
_sync = getattr(os, "fdatasync", os.fsync)

_WORDS = {
    errno.ENOSPC: "the disk is full: free some room",
    errno.EDQUOT: "the disk quota is used up: free some room",
    errno.EFBIG: "the file size limit of this process is reached: raise it (ulimit -f)",
    errno.EROFS: "the disk is read-only: remount it or choose another place",
    errno.EACCES: "permission is missing: change the folder's rights or choose another place",
    errno.EPERM: "permission is missing: change the folder's rights or choose another place",
    errno.ENOTDIR: "a file is where a folder should be: choose another place",
}


class Contents(NamedTuple):
    """A segment's records, and the payloads of those that no longer are what `marketlab.records` says."""

    records: list[Record]
    unreadable: list[bytes]


def unavailable(path: Path | str, error: OSError) -> StoreUnavailable:
    """What went wrong on the disk, in one sentence that says what to do."""
    words = _WORDS.get(error.errno or 0, error.strerror or str(error))
    return StoreUnavailable(f"Cannot write to {path}: {words}.")


def segments(root: Path) -> list[Path]:
    """The segments of all writers below a spool's root, each writer's oldest first."""
    found: list[Path] = []
    for directory in _listed(root):
        # Hidden ones are still being made. One that is gone when we look into it had been emptied into the store.
        if not directory.name.startswith("."):
            found += [path for path in _listed(directory) if path.suffix == _SUFFIX]
    return sorted(found)


def owners(root: Path) -> list[tuple[Path, bool]]:
    """The directories below a spool's root, and whether the owner of each lives."""
    found = []
    for directory in sorted(_listed(root)):
        if not directory.name.startswith(".") and (directory / "lock").is_file():
            lock = _locked(directory, fcntl.LOCK_SH)
            found.append((directory, lock is None))
            if lock is not None:
                os.close(lock)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_segment(path: Path) -> Contents:
    """What a segment holds up to a torn tail.

    Raises:
        FileNotFoundError: it is gone, so the store has all of it.
    """
    records: list[Record] = []
    unreadable: list[bytes] = []
    for payload in _payloads(path.read_bytes()):
        try:
            records += _DECODER.decode(payload)
        except msgspec.MsgspecError:
            _salvage(payload, records, unreadable)
    return Contents(records, unreadable)


def _payloads(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    at = 0
    while at + _HEADER.size <= len(view):
        length, crc = _HEADER.unpack_from(view, at)
        at += _HEADER.size
        payload = view[at : at + length]
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        yield payload
        at += length


def _salvage(payload: memoryview, records: list[Record], unreadable: list[bytes]) -> None:
    try:
        parts: Sequence[Any] = _RAW.decode(payload)
    except msgspec.MsgspecError:
        unreadable.append(bytes(payload))
        return
    for part in parts:
        try:
            records.append(_ONE.decode(part))
        except msgspec.MsgspecError:
            unreadable.append(bytes(part))


class Spool:
    """One writer's directory, locked for as long as this object lives. Used by one thread at a time."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.writer = directory.name
        self._lock = lock
        self._file: int | None = None
        self._good = 0
        numbers = [int(path.name.removesuffix(_SUFFIX)) for path in directory.glob(f"*{_SUFFIX}")]
        self._number = max(numbers, default=0)

    @classmethod
    def create(cls, root: Path) -> Self:
        """A new directory below `root`, with a name of its own.

        Raises:
            StoreUnavailable: the disk does not let us.
        """
        name = uuid4().hex
        hidden = root / f".{name}"
        try:
            hidden.mkdir(parents=True)
            lock = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Visible only once it is locked: nobody can adopt it in between.
            hidden.rename(root / name)
        except OSError as error:
            raise unavailable(root, error) from error
        return cls(root / name, lock)

    @classmethod
    def adopt(cls, root: Path) -> list[Self]:
        """The directories below `root` whose owner is gone, now ours; empty ones are cleared away."""
        adopted = []
        names = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        for directory in names:
            lock = None if directory.name.startswith(".") else _taken(directory)
            if lock is None:
                continue
            spool = cls(directory, lock)
            if spool.numbers():
                adopted.append(spool)
            else:
                spool.release()
        return adopted

    @property
    def size(self) -> int:
        """Bytes in the open segment."""
        return self._good

    def path(self, number: int) -> Path:
        """Where the segment of that number is."""
        return self.directory / f"{number:012d}{_SUFFIX}"

    def numbers(self) -> list[int]:
        """The numbers of the segments that are there, oldest first."""
        return sorted(int(path.name.removesuffix(_SUFFIX)) for path in self.directory.glob(f"*{_SUFFIX}"))

    def append(self, records: Sequence[Record]) -> None:
        """Records into the open segment, safe on the disk when this returns.

        Raises:
            StoreUnavailable: the disk refused; nothing of them is in the segment, which stays good.
            TypeError, ValueError, OverflowError: a record cannot be packed; nothing of them is in the segment.
        """
        frame = bytearray(_HEADER.size)
        _ENCODER.encode_into(records, frame, _HEADER.size)
        body = memoryview(frame)[_HEADER.size :]
        _HEADER.pack_into(frame, 0, len(body), zlib.crc32(body))
        try:
            file = self._open()
            _write(file, memoryview(frame))
            _sync(file)
        except OSError as error:
            self._step_back()
            raise unavailable(self.directory, error) from error
        self._good += len(frame)

    def close_segment(self) -> int | None:
        """Ends the open segment and returns its number; None when nothing is open."""
        if self._file is None:
            return None
        os.close(self._file)
        self._file, self._good = None, 0
        return self._number

    def discard(self, number: int) -> None:
        """The store has this segment."""
        # Where the disk does not even let us remove it, the store will say again that it has it.
        with suppress(OSError):
            self.path(number).unlink()

    def read(self, number: int) -> Contents:
        """What the segment of that number holds.

        Raises:
            StoreUnavailable: the disk does not give it.
        """
        try:
            return read_segment(self.path(number))
        except OSError as error:
            raise StoreUnavailable(f"Cannot read {self.path(number)}: {error.strerror}.") from error

    def release(self) -> None:
        """Give the directory up: away with it when it is empty, else for the next writer to adopt; twice is once."""
        self.close_segment()
        if self._lock < 0:
            return
        if not self.numbers():
            # The lock goes last and while it is still held, so nobody can take what is about to vanish.
            with suppress(OSError):
                (self.directory / "lock").unlink()
                self.directory.rmdir()
        os.close(self._lock)
        self._lock = -1

    def _open(self) -> int:
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._file = os.open(self.path(self._number + 1), flags, 0o644)
            self._number += 1
            self._good = 0
            _sync_directory(self.directory)
        return self._file

    def _step_back(self) -> None:
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._good)
        except OSError:
            # What is behind the torn frame would never be read: go on in a new segment.
            os.close(self._file)
            self._file = None


def _write(file: int, frame: memoryview) -> None:
    # In two halves, so that a test can stand in between.
    half = len(frame) // 2
    write_all(file, frame[:half])
    crashpoints.reach("segment-half-written")
    write_all(file, frame[half:])


def write_all(file: int, data: memoryview) -> None:
    """All of it, though the kernel may take less at a time."""
    while data:
        data = data[os.write(file, data) :]


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _taken(directory: Path) -> int | None:
    for _ in range(_LOOKS):
        lock = _locked(directory)
        if lock is not None:
            return lock
        look = _locked(directory, fcntl.LOCK_SH)
        if look is None:
            # Its owner lives.
            return None
        # Somebody looks whether it does, or did just now.
        os.close(look)
        sleep(_LOOK_S)
    return None


def _locked(directory: Path, how: int = fcntl.LOCK_EX) -> int | None:
    try:
        lock = os.open(directory / "lock", os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        # Between opening and locking the owner may have cleared the directory away.
        if os.fstat(lock).st_ino == (directory / "lock").stat().st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None
