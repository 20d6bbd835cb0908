"""What a real InfluxDB 3 Core was asked and answered: recorded exchanges, in the order in which they were made."""

import base64
import json
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Exchange", "exchanges", "recording"]

# Whoever reads comes after whoever writes in the same second, but for these.
_FIRST, _LATE = -1, 1
_RANKS = {
    "db_list_empty": -3,
    "db_create": -2,
    "db_create_retention": _FIRST,
    "dedup_read": 2,
    "write_v3_nosync_then_read": 3,
    "db_limit_0": 2,
    "db_limit_1": 3,
    "db_limit_2": 3,
    "db_limit_3": 3,
    "write_v2_db_limit": 3,
    "write_v3_db_limit": 3,
    "db_limit_del_0": 4,
    "db_limit_del_1": 5,
    "db_limit_del_2": 5,
    "db_limit_del_3": 5,
    "table_create": _FIRST,
    "table_create_notags": _FIRST,
    "write_v2_new_db_autocreate": _FIRST,
    "autodb2_delete": 2,
    "db_delete_hard_now": _FIRST,
    "db_delete_x": _FIRST,
    "db_delete_again": 0,
    "db_list_after_delete": 1,
    "write_to_deleted_db": 2,
    "db_list_after_write_to_deleted": 3,
    "db_delete": 4,
}


class Exchange(msgspec.Struct, frozen=True):
    """One request over HTTP and its answer. `server` tells apart the three that were recorded."""

    name: str
    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer: bytes
    broke_off: bool
    order: tuple[float, int, str]

    @property
    def is_whole(self) -> bool:
        """Whether neither body was cut when it was recorded."""
        return b"TRUNCATED" not in self.body + self.answer and b"omitted" not in self.answer


def exchanges(folder: Path) -> list[Exchange]:
    """All of them, in order."""
    found = [_exchange(path) for path in sorted(folder.glob("*.json"))]
    return sorted((one for one in found if one is not None), key=lambda one: one.order)


def recording(folder: Path, name: str) -> Any:
    """One file as it is."""
    return json.loads((folder / f"{name}.json").read_text())


def _exchange(path: Path) -> Exchange | None:
    held = json.loads(path.read_text())
    asked, told = held.get("request"), held.get("response")
    if not isinstance(asked, dict) or "method" not in asked:
        return None
    headers = {name.lower(): value for name, value in told["headers"].items()}
    rank = _RANKS.get(path.stem, _LATE if asked["method"] == "GET" else 0)
    return Exchange(
        path.stem,
        headers["cluster-uuid"],
        asked["method"],
        asked["path_and_query"],
        asked["headers"],
        _bytes(asked),
        told["status"],
        headers,
        _bytes(told),
        "transport_error" in told,
        (parsedate_to_datetime(headers["date"]).timestamp(), rank, path.stem),
    )


def _bytes(side: dict[str, Any]) -> bytes:
    packed = side.get("body_base64") or ""
    if packed and "omitted" not in packed:
        return base64.b64decode(packed)
    return str(side.get("body") or "").encode()
