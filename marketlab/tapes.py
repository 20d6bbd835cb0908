"""Reads and writes tape files: what came off the wire, one frame a line.

A line is `<received ns> <frame>`. The file's name says how it is packed: `.gz`, `.zst`, anything else is plain text.
Besides frames a tape may hold

- REST answers, either bare (a depth snapshot, `{"lastUpdateId":...}`, of the only symbol with depth frames) or with
  the request: `{"request":"/api/v3/depth?symbol=ETHUSDT","answer":{...}}`;
- a first line `{"origin":"simulated"}`, so that simulated data keeps its mark through being recorded and replayed.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

from marketlab.errors import MissingDependency, StoreError, TapeError, UsageError
from marketlab.records import Origin

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Answer", "Line", "TapeWriter", "answer", "origin", "read"]

_BUFFER = 1 << 20
_PIECE = 1 << 13  # of packed data; damage costs the lines of the piece it is in
_MARK = b'{"origin":"simulated"}'
_DEPTH = "/api/v3/depth"


class Line(NamedTuple):
    """A line of a tape: its number (from 1), when the frame was received (nanoseconds since 1970 UTC), the frame."""

    number: int
    received: int
    frame: bytes


class Answer(NamedTuple):
    """A REST answer found in a tape. `request` is path and query; a bare depth snapshot has only the path."""

    request: str
    body: bytes


class _Recorded(msgspec.Struct):
    request: str
    answer: msgspec.Raw


def read(path: Path | str) -> Iterator[Line]:
    """The lines of a tape, in order, read as they are asked for.

    A tape that breaks off gives every whole line before it raises.

    Raises:
        TapeError: the file is missing, not packed as its name says, or broken; the error names the line.
        MissingDependency: the tape is a .zst and the package zstandard is not installed.
    """
    path = Path(path)
    number = 0
    try:
        with _open(path) as file:
            for number, text in enumerate(file, 1):
                line = _parse(path, number, text)
                if number == 1 and line.frame == _MARK:
                    continue
                yield line
    except (OSError, EOFError) as error:
        raise TapeError(path, 0 if isinstance(error, FileNotFoundError) else number + 1, _reason(error)) from error


def origin(path: Path | str) -> Origin:
    """`simulated` where the tape says so in its first line, else `replay`.

    Raises:
        TapeError: as for `read`.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            first = file.readline()
    except (OSError, EOFError) as error:
        raise TapeError(path, 0 if isinstance(error, FileNotFoundError) else 1, _reason(error)) from error
    return "simulated" if first.rstrip().endswith(_MARK) else "replay"


def answer(frame: bytes) -> Answer | None:
    """The REST answer that a line's frame is, or None where it is a stream's frame."""
    if frame.startswith(b'{"lastUpdateId"'):
        return Answer(_DEPTH, frame)
    if not frame.startswith(b'{"request"'):
        return None
    try:
        recorded = msgspec.json.decode(frame, type=_Recorded)
    except msgspec.DecodeError:
        return None
    return Answer(recorded.request, bytes(recorded.answer))


class TapeWriter:
    """Writes a new tape. A context manager; `close` is what makes the file whole.

    After `flush` everything written so far can be read back, even if the process is killed then. Line breaks inside
    a frame (white space in JSON) become blanks.

    Raises:
        UsageError: the file exists already and is not empty: a recording is never overwritten.
        StoreError: the disk refuses; from the constructor, `write`, `flush` and `close`.
        MissingDependency: a .zst tape without the package zstandard.
    """

    def __init__(self, path: Path | str, *, origin: Origin = "stream") -> None:
        self.path = Path(path)
        self.lines = 0
        try:
            if self.path.exists() and self.path.stat().st_size:
                raise UsageError(f"The tape {self.path} exists already; choose another name or remove it.")
            self._file = _create(self.path)
        except OSError as error:
            raise self._refused(error) from error
        if origin == "simulated":
            self.write(0, _MARK)

    def write(self, received: int, frame: bytes) -> None:
        """Add a frame that was received at this nanosecond."""
        if b"\n" in frame or b"\r" in frame:
            frame = frame.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            self._file.write(b"%d %b\n" % (received, frame))
        except OSError as error:
            raise self._refused(error) from error
        self.lines += 1

    def write_answer(self, received: int, request: str, body: bytes) -> None:
        """Add the JSON body of a REST answer; `request` is its path and query, such as /api/v3/depth?symbol=BTCUSDT."""
        self.write(received, b'{"request":%b,"answer":%b}' % (msgspec.json.encode(request), body.strip()))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Finish the file; more calls do nothing."""
        try:
            self._file.close()
        except OSError as error:
            raise self._refused(error) from error

    def __enter__(self) -> "TapeWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(f"The tape {self.path} cannot be written: {error.strerror or error}.")


def _parse(path: Path, number: int, text: bytes) -> Line:
    stamp, blank, frame = text.partition(b" ")
    if not text.endswith(b"\n") and not _is_json(frame):
        raise TapeError(path, number, "it breaks off in the middle of the line")
    frame = frame.rstrip(b"\r\n")
    if not blank or not frame or not stamp.isdigit():
        raise TapeError(path, number, "a line is the nanosecond of receipt, a blank and the frame")
    return Line(number, int(stamp), frame)


def _is_json(frame: bytes) -> bool:
    try:
        msgspec.json.decode(frame, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case EOFError():
            return "the packed file breaks off"
        case OSError():
            return error.strerror or str(error)
    return str(error)


def _open(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".gz":
            return io.BufferedReader(
                _Unpacked(path.open("rb"), lambda: zlib.decompressobj(wbits=31), zlib.error), _BUFFER
            )
        case ".zst":
            zstandard = _zstandard("Reading a .zst tape")
            unpacker = zstandard.ZstdDecompressor().decompressobj
            return io.BufferedReader(_Unpacked(path.open("rb"), unpacker, zstandard.ZstdError), _BUFFER)
    return path.open("rb", buffering=_BUFFER)


def _create(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".gz":
            return cast("IO[bytes]", gzip.open(path, "wb", compresslevel=6))
        case ".zst":
            zstandard = _zstandard("Writing a .zst tape")
            return cast("IO[bytes]", _Packed(path.open("wb"), zstandard))  # BufferedWriter.flush would not reach it
    return path.open("wb", buffering=_BUFFER)


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Damaged(OSError):
    pass


class _Unpacked(io.RawIOBase):
    """A packed file as it was before.

    GzipFile loses what it read just before a file breaks off, and zstandard's reader takes such a file for a whole one.
    """

    def __init__(self, file: IO[bytes], unpacker: Callable[[], _Unpacker], damage: type[Exception]) -> None:
        self._new = unpacker
        self._damage = damage
        self._unpacker = unpacker()
        self._ready = memoryview(b"")
        self._begun = False
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready and self._fill():
            pass
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _fill(self) -> bool:
        packed = self._unpacker.unused_data or self._file.read(_PIECE)
        if self._unpacker.eof:
            self._unpacker = self._new()
            self._begun = False
        if not packed:
            if self._begun:
                raise EOFError
            return False
        self._begun = True
        try:
            self._ready = memoryview(self._unpacker.decompress(packed))
        except self._damage as error:
            raise _Damaged(f"the packed data is damaged ({error})") from error
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class _Packed(io.RawIOBase):
    def __init__(self, file: IO[bytes], zstandard: ModuleType) -> None:
        self._end_of_block = zstandard.FLUSH_BLOCK
        self._file = file
        self._packer = zstandard.ZstdCompressor(level=9).stream_writer(self._file)
        self._open = True

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        self._packer.write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        if self._open:
            self._packer.flush(self._end_of_block)
            self._file.flush()

    def close(self) -> None:
        if not self.closed:
            try:
                self._packer.close()
            finally:
                self._file.close()
                self._open = False
                super().close()


def _zstandard(purpose: str) -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependency("zstandard", "zstd", purpose) from error
    return zstandard
