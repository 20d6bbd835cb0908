"""`marketlab status`: what would happen if something were started here and now."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketlab.cli.options import Json, StoreUrl

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.errors import MarketlabError
    from marketlab.lab.store_trial import Trial
    from marketlab.stores.contract import Store

__all__ = ["EXAMPLES", "status"]

EXAMPLES = """
marketlab status
marketlab status --store delta:///srv/marketdata     # another store than the settings name
marketlab status --json | jq .store
marketlab status --test-store influxdb://localhost:8086/market     # writes a marked sample, reads it, deletes it
"""

_PACKAGES = (
    "aiohttp",
    "deltalake",
    "httpx",
    "influxdb-client",
    "influxdb3-python",
    "jupyterlab",
    "msgspec",
    "narwhals",
    "pandas",
    "plotly",
    "polars",
    "psycopg",
    "pyarrow",
    "redis",
    "websockets",
    "zstandard",
)


def status(
    store: StoreUrl = None,
    test_store: Annotated[
        str | None,
        typer.Option(
            "--test-store",
            metavar="URL",
            help="Try this store or queue out instead: write a marked sample, read it back, show and delete it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Settings and where each comes from (secrets stay covered), versions, and what the store holds.

    Ends with 0 when all is well, with 2 when a setting is wrong, with 3 when the store does not answer or does not give
    back what it was given. The sample of --test-store lies apart from what is stored.
    """
    from marketlab.cli import exit_code
    from marketlab.cli.terminal import print_json
    from marketlab.config import load_settings, without_secrets

    settings = load_settings(store=store)
    if test_store is not None:
        _try_out(test_store, settings, json=json)
        return
    holds, waiting, failure = _looked_at(settings)
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
            "waiting": waiting,
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


def _looked_at(settings: "Settings") -> "tuple[list[dict[str, Any]], int | None, MarketlabError | None]":
    """What a store holds, or how many batches wait in a queue, or why nobody can tell."""
    from marketlab.errors import MarketlabError
    from marketlab.extras import missing

    try:
        from marketlab.lab.store_trial import is_queue, is_store
        from marketlab.stores.open import open_sink

        with open_sink(settings.store, settings) as sink:
            if is_queue(sink):
                return [], sink.waiting(), None
            return _coverage(sink) if is_store(sink) else [], None, None
    except MarketlabError as error:
        return [], None, error
    except ModuleNotFoundError as error:
        failure = missing(error, "A store")
        if failure is None:
            raise
        return [], None, failure


def _coverage(store: "Store") -> list[dict[str, Any]]:
    from marketlab import tables

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
        for part in store.coverage(name)
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
        print(f"  {name:<20}{_text(setting['value']):<31} {setting['source']}")
    store = found["store"]
    print(f"\nstore {store['url']}")
    if not store["reachable"]:
        print(f"  {store['reason']}")
    elif store["waiting"] is not None:
        print(f"  {store['waiting']:,} batches wait in this queue")
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


def _try_out(url: str, settings: "Settings", *, json: bool) -> None:
    from marketlab.cli import exit_code
    from marketlab.cli.terminal import note, print_json
    from marketlab.clock import SystemClock
    from marketlab.lab.store_trial import try_out
    from marketlab.stores.open import open_sink

    trial = try_out(url, lambda: open_sink(url, settings), now=SystemClock().now())
    reason = None if trial.failure is None else f"The step {trial.failed} failed: {trial.failure}"
    if json:
        print_json(
            {
                "url": trial.url,
                "ok": trial.failure is None,
                "steps": trial.steps,
                "rows": {name: table.to_dicts() for name, table in trial.found.items()},
                "failed": trial.failed or None,
                "reason": reason,
                "left": trial.left or None,
            }
        )
    else:
        _show_trial(trial)
    if trial.failure is not None:
        note(f"{reason}{f' The sample could not be removed: {trial.left}' if trial.left else ''}")
        raise typer.Exit(exit_code(trial.failure))


def _show_trial(trial: "Trial") -> None:
    from marketlab.cli.terminal import print_table

    print(f"{trial.url}")
    for step in trial.steps:
        print(f"  {step.step:<12}{step.ms:>10,.1f} ms")
    if trial.failed:
        print(f"  {trial.failed:<12}    failed")
    for name, table in trial.found.items():
        print(f"\n{name}, SIMULATED")
        print_table(table.drop("exchange", "symbol", "received"))
    if trial.failure is None:
        rows = sum(table.height for table in trial.found.values())
        print(f"\n{rows} rows came back as they were written, and are deleted.")
