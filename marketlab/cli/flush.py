"""`marketlab flush`: from a queue into stores."""

from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import Duration, Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from marketlab.config import Settings
    from marketlab.lab.flushing import Flushed, Flusher

__all__ = ["EXAMPLES", "flush"]

EXAMPLES = """
marketlab flush --from redis://localhost --to influxdb://localhost:8086/market
marketlab collect BTCUSDT --store redis://localhost        # the other side: what comes goes into the queue
marketlab flush --from redis:// --to delta://marketdata --to postgresql://localhost/market
marketlab flush --from redis:// --to delta://marketdata --until-idle 5 --json   # empty it, then end
"""


def flush(
    source: Annotated[
        str,
        typer.Option("--from", metavar="URL", help="The queue, such as redis://localhost:6379/0.", show_default=False),
    ],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="URL", help="Where to; may be given repeatedly; else the store of the settings."),
    ] = None,
    duration: Duration = None,
    until_idle: Annotated[
        float | None,
        typer.Option("--until-idle", metavar="S", min=0.1, help="End after so many seconds without a batch."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="CONSUMER", help="Its name in the queue; else made of the host and the process."
        ),
    ] = None,
    idle: Annotated[
        float,
        typer.Option(
            "--idle", metavar="S", min=0.1, help="Take over what another flusher has left for so many seconds."
        ),
    ] = 60.0,
    json: Json = False,
) -> None:
    """Take batches from a queue and store them; several flushers share the work.

    A batch leaves the queue when every store has it. What a flusher that is gone has left is taken over. Rows that a
    store refuses go to the dead-letter file of its spool. Ends by --duration, --until-idle or Ctrl-C, with everything
    stored that it had taken; a second Ctrl-C ends at once, and others take that over. Exit code 3: it had to give
    batches back to the queue, or a store has refused rows.
    """
    from functools import partial

    from marketlab.cli.progress import statistics_in_log
    from marketlab.cli.terminal import print_json
    from marketlab.config import load_settings
    from marketlab.errors import StoreUnavailable
    from marketlab.lab.flushing import Flusher, consumer_name

    settings = load_settings()
    statistics_in_log(settings.log_level)
    consumer = name or consumer_name()
    make = partial(Flusher, consumer=consumer, duration=duration, until_idle=until_idle, idle=idle)
    flushed = _run(source, to or [settings.store], settings, make)
    if json:
        print_json(flushed)
    else:
        _show(flushed)
    failures = _failures(flushed)
    if failures:
        raise StoreUnavailable(" ".join(failures))


def _failures(flushed: "Flushed") -> list[str]:
    from marketlab.lab.summary import refusal

    refused = [one for one in flushed.stores if one.dead_letters]
    failures = [refusal(one.dead_letters, one.store, one.dead_letter_file) for one in refused]
    if flushed.unfinished:
        waiting = f"{flushed.unfinished:,} batches are not everywhere yet and wait in {flushed.queue}"
        failures.insert(0, f"{waiting}: {flushed.failure}")
    return failures


def _run(source: str, to: list[str], settings: "Settings", make: "Callable[..., Flusher]") -> "Flushed":
    from marketlab.cli.terminal import counting
    from marketlab.lab.destination import destinations
    from marketlab.lab.interrupting import twice_ends_at_once
    from marketlab.lab.opening import require_answers
    from marketlab.stores.open import open_queue

    with (
        twice_ends_at_once("Ended at once; what was not stored yet is taken over from the queue by others.") as asked,
        open_queue(source, settings) as queue,
        destinations(to, settings) as stores,
        counting("flushing", "rows") as advance,
    ):
        require_answers([queue], settings, patient=False)
        return make(queue, stores, stopping=asked, look=advance).run()


def _show(flushed: "Flushed") -> None:
    from marketlab.cli.terminal import note

    over = f", {flushed.taken_over:,} of them taken over" if flushed.taken_over else ""
    waiting = "it does not answer" if flushed.waiting is None else f"{flushed.waiting:,} waiting"
    note(
        f"{flushed.batches:,} batches in {flushed.seconds:.1f} s from {flushed.queue}{over} ({waiting}); "
        f"ended: {flushed.ended}."
    )
    for stored in flushed.stores:
        rows = ", ".join(f"{count:,} {name}" for name, count in sorted(stored.rows.items())) or "nothing"
        note(f"  {stored.store}: {rows} ({sum(stored.changed.values()):,} rows new or better)")
        if stored.dead_letters:
            note(f"  {stored.dead_letters:,} rows were refused and are in the dead-letter file of the spool")
