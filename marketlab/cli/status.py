"""`marketlab status`: what would happen if something were started here and now."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from marketlab.cli.options import Json, StoreUrl

__all__ = ["EXAMPLES", "status"]

EXAMPLES = """
marketlab status
marketlab status --store delta:///srv/marketdata     # another store than the settings name
marketlab status --json | jq .store
"""

_PACKAGES = (
    "aiohttp",
    "deltalake",
    "httpx",
    "jupyterlab",
    "msgspec",
    "narwhals",
    "pandas",
    "plotly",
    "polars",
    "pyarrow",
    "websockets",
    "zstandard",
)


def status(store: StoreUrl = None, json: Json = False) -> None:
    """Settings and where each comes from (secrets stay covered), versions, and what the store holds.

    Ends with 0 when all is well, with 2 when a setting is wrong, with 3 when the store does not answer.
    """
    from marketlab.cli import exit_code
    from marketlab.cli.terminal import print_json
    from marketlab.config import load_settings, without_secrets
    from marketlab.errors import MarketlabError
    from marketlab.extras import missing

    settings = load_settings(store=store)
    failure: MarketlabError | None = None
    holds: list[dict[str, Any]] = []
    try:
        holds = _coverage(settings.store)
    except MarketlabError as error:
        failure = error
    except ModuleNotFoundError as error:
        failure = missing(error, "A store")
        if failure is None:
            raise
    found: dict[str, Any] = {
        "marketlab": _version("marketlab"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "settings": {item.name: {"value": item.value, "source": item.source} for item in settings.shown()},
        "store": {
            "url": without_secrets(settings.store),
            "reachable": failure is None,
            "reason": str(failure) if failure else None,
            "holds": holds,
        },
    }
    if json:
        print_json(found)
    else:
        _show(found)
    if failure is not None:
        raise typer.Exit(exit_code(failure))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _coverage(url: str) -> list[dict[str, Any]]:
    from marketlab import tables
    from marketlab.stores.open import open_store

    with open_store(url) as source:
        return [
            {
                "table": name,
                "exchange": part.exchange,
                "symbol": part.symbol,
                "interval": part.interval,
                "rows": part.rows,
                "first": _iso(part.first),
                "last": _iso(part.last),
            }
            for name in tables.TABLES
            for part in source.coverage(name)
        ]


def _iso(time: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _show(found: dict[str, Any]) -> None:
    print(f"marketlab {found['marketlab']}, Python {found['python']}")
    present = [f"{name} {version}" for name, version in found["packages"].items() if version]
    absent = [name for name, version in found["packages"].items() if not version]
    print(f"with {', '.join(present)}")
    if absent:
        print(f"without {', '.join(absent)}")
    print("\nsettings")
    for name, setting in found["settings"].items():
        print(f"  {name:<20}{_text(setting['value']):<32}{setting['source']}")
    store = found["store"]
    print(f"\nstore {store['url']}")
    if not store["reachable"]:
        print(f"  {store['reason']}")
    elif not store["holds"]:
        print("  holds nothing yet")
    for part in store["holds"]:
        what = f"{part['table']} {part['interval']}" if part["interval"] else part["table"]
        print(
            f"  {part['exchange']:<10}{part['symbol']:<14}{what:<18}{part['rows']:>12,} rows  {part['first']} ... {part['last']}"
        )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)
