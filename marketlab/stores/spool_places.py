"""Where records wait for a store: a folder for each, so that nobody's records come into another's.

    <store>/_spool/                              a store in a folder of this machine has them beside its tables
    <root>/<host and database>-<hash>/           any other has a folder below the setting `spool`
    <root>/<host and database>-<hash>/store      its URL, without secrets

A store that ends with its process has none.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from marketlab.config import without_secrets
from marketlab.stores.contract import Sink
from marketlab.stores.spool import unavailable

__all__ = ["place_of", "places", "prepared"]

_NAME = "store"
_LONGEST = 60


def place_of(sink: Sink, root: Path) -> Path | None:
    """The folder where records wait for a store or queue; None where they need not outlive the process."""
    if sink.spool is not None or sink.scheme == "memory":
        return sink.spool
    words = re.sub(r"[^a-z0-9]+", "-", sink.url.lower()).strip("-")[:_LONGEST].strip("-")
    return root / f"{words}-{sha256(sink.url.encode()).hexdigest()[:8]}"


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
    return place


def _shown(url: str) -> str:
    # The store's own where nobody can tell an option from a password.
    return "" if "@" in url.partition("?")[2] else without_secrets(url, options=True)


def places(root: Path) -> Iterator[tuple[str, Path]]:
    """The URLs and folders of all stores that have one below the root."""
    for name in sorted(root.glob(f"*/{_NAME}")):
        yield name.read_text(encoding="utf-8").strip(), name.parent
