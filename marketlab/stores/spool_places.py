"""Where records wait for a store: a folder for each, so that nobody's records come into another's.

    <store>/_spool/                              a store in a folder of this machine has them beside its tables
    <root>/<host and database>-<hash>/           any other has a folder below the setting `spool`
    <root>/<host and database>-<hash>/store      its URL, without secrets
    <root>/<folder>-<hash>.local                 the URL and the folder of a store of this machine, and no records

A store that ends with its process has none.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from marketlab.config import without_secrets
from marketlab.stores.contract import Sink
from marketlab.stores.spool import unavailable

__all__ = ["place_of", "places", "prepared"]

_NAME = "store"
_LOCAL = ".local"
_LONGEST = 60
_USER = re.compile(r"postgres(?:ql)?://([\w.%+-]+)(?::.*)?@[^@]*$", re.DOTALL)


def place_of(sink: Sink, root: Path) -> Path | None:
    """The folder where records wait for a store or queue; None where they need not outlive the process."""
    if sink.spool is not None or sink.scheme == "memory":
        return sink.spool
    return root / _word_for(sink.url)


def _word_for(url: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", url.lower()).strip("-")[:_LONGEST].strip("-")
    return f"{words}-{sha256(url.encode()).hexdigest()[:8]}"


def prepared(sink: Sink, root: Path, url: str = "") -> Path | None:
    """The same folder, with the store's URL in it, as it was given but for secrets, where its place does not tell.

    Raises:
        StoreUnavailable: the disk does not let us.
    """
    place = place_of(sink, root)
    if place is not None and sink.spool is None:
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / _NAME).write_text(f"{_shown(url) or sink.url}\n", encoding="utf-8")
        except OSError as error:
            raise unavailable(place, error) from error
    elif place is not None:
        # So that it is found by whoever does not name the store; what waits is safe without.
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            (root / f"{_word_for(sink.url)}{_LOCAL}").write_text(f"{sink.url}\n{place}\n", encoding="utf-8")
    return place


def _shown(url: str) -> str:
    # The store's own where nobody can tell an option from a password.
    if "@" in url.partition("?")[2]:
        return ""
    shown = without_secrets(url, options=True)
    # Without its user PostgreSQL would ask for the one of this machine; elsewhere what stands there may be a token.
    user = _USER.match(url)
    return shown.replace("://", f"://{user[1]}@", 1) if user else shown


def places(root: Path) -> Iterator[tuple[str, Path]]:
    """The URLs and folders of all stores that have one below the root, or that it remembers; those gone are forgotten."""
    for name in sorted(root.glob(f"*/{_NAME}")):
        yield name.read_text(encoding="utf-8").strip(), name.parent
    for note in sorted(root.glob(f"*{_LOCAL}")):
        url, _, place = note.read_text(encoding="utf-8").strip().partition("\n")
        if place and Path(place).is_dir():
            yield url, Path(place)
        elif not Path(place).parent.exists():
            with suppress(OSError):
                note.unlink()
