"""`marketlab spool`: what waits for stores, and what becomes of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marketlab.cli.options import Json

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.lab.spools import HandedOver, Left, Place, SpoolState
    from marketlab.stores.writer import Report

__all__ = ["EXAMPLES", "spool"]

EXAMPLES = """
marketlab spool                                            # what waits, for whom, since when
marketlab spool replay                                     # store what collectors have left that are gone
marketlab spool replay --store influxdb://localhost:8086/market --dead-letters
marketlab spool empty --store delta://marketdata --yes     # throw it away
"""


def spool(
    action: Annotated[
        Literal["list", "replay", "empty"], typer.Argument(metavar="[list|replay|empty]", show_default=False)
    ] = "list",
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", help="Only what waits for this one; else for all that have a spool here."
        ),
    ] = None,
    dead_letters: Annotated[
        bool,
        typer.Option("--dead-letters", help="Also the rows that a store has refused: try them again, or drop them."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Empty without a question.")] = False,
    json: Json = False,
) -> None:
    """List what waits for stores, hand it over now (replay), or throw it away (empty).

    The next collector stores what waits by itself; this is for when there will be none. What a living collector holds is
    shown and left alone. Exit code 3: something still waits after a replay, or was refused.
    """
    from marketlab.cli.progress import statistics_in_log
    from marketlab.config import load_settings
    from marketlab.lab.spools import found

    settings = load_settings()
    statistics_in_log(settings.log_level)
    places = found(settings, store)
    if action == "list":
        _list(places, json=json)
    elif action == "replay":
        _replay(places, settings, dead_letters=dead_letters, json=json, is_named=store is not None)
    else:
        _empty(places, dead_letters=dead_letters, yes=yes, json=json)


def _list(places: "list[Place]", *, json: bool) -> None:
    from marketlab.cli.terminal import print_json
    from marketlab.lab.spools import look

    states = [state for state in map(look, places) if state.writers or state.dead_letters.count]
    if json:
        print_json(states)
        return
    for state in states:
        print(f"{state.store}  ({state.folder})")
        for left in state.writers:
            print(f"  {'living' if left.locked else 'free':<8}{_told(left)}")
        dead = state.dead_letters
        if dead.count:
            print(f"  refused {dead.count:,} rows, the last one {_time(dead.at)}: {dead.reason}")
    if not states:
        print("Nothing waits.")


def _told(left: "Left") -> str:
    records = ", ".join(f"{count:,} {name}" for name, count in sorted(left.records.items())) or "no records"
    odd = f", {left.unreadable:,} unreadable" if left.unreadable else ""
    return (
        f"{left.writer[:8]}  {left.segments:,} segments, {left.bytes:,} bytes: {records}{odd}; "
        f"{_time(left.oldest)} ... {_time(left.newest)}"
    )


def _time(moment: int | None) -> str:
    from datetime import UTC, datetime

    if moment is None:
        return "-"
    return datetime.fromtimestamp(moment / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _replay(places: "list[Place]", settings: "Settings", *, dead_letters: bool, json: bool, is_named: bool) -> None:
    from marketlab.cli.stopping import asked_to_stop
    from marketlab.cli.terminal import note, print_json
    from marketlab.errors import StoreDenied, StoreUnavailable, UsageError
    from marketlab.lab.spools import hand_over, look, not_handed_over
    from marketlab.lab.summary import refusal

    done: list[HandedOver] = []
    failed: list[HandedOver] = []
    with asked_to_stop() as stopping:
        for place in places:
            state = look(place)
            held = sum(left.locked for left in state.writers)
            if held:
                note(f"{state.store}: {held:,} of the writers live and store what they have themselves.")
            again = dead_letters and bool(state.dead_letters.count)
            if stopping() or not (again or len(state.writers) > held):
                continue
            try:
                with _progress(state) as show:
                    done.append(hand_over(place, settings, dead_letters=again, look=show, stopping=stopping))
            except (StoreUnavailable, UsageError) as error:
                again_with = f" The password is not kept: marketlab spool replay --store {state.store}"
                words = f"{error}{again_with if isinstance(error, StoreDenied) and not is_named else ''}"
                failed.append(not_handed_over(state, words))
    if json:
        print_json([*done, *failed])
    for handed in done if not json else ():
        _show(handed)
    if not done and not failed and not json:
        print("Nothing waits that could be stored.")
    failures = [one.failure for one in failed]
    failures += [
        f"{one.segments:,} segments still wait for {one.store}: {one.failure or 'it was stopped.'}"
        for one in done
        if one.segments or one.pending
    ]
    failures += [refusal(one.dead_letters, one.store, one.dead_letter_file) for one in done if one.dead_letters]
    if failures:
        raise StoreUnavailable(" ".join(failures))


def _show(handed: "HandedOver") -> None:
    rows = ", ".join(f"{count:,} {name}" for name, count in sorted(handed.rows.items())) or "nothing"
    print(f"{handed.store}: {rows} ({sum(handed.changed.values()):,} rows new or better)")
    if handed.dead_letters:
        print(f"  {handed.dead_letters:,} rows were refused and are in the dead-letter file of the spool")


@contextmanager
def _progress(state: "SpoolState") -> "Iterator[Callable[[Report], None]]":
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    from rich.console import Console
    from rich.progress import Progress

    total = sum(left.segments for left in state.writers if not left.locked)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(state.store, total=total or None)
        yield lambda report: progress.update(task, completed=max(0, total - report.segments))


def _empty(places: "list[Place]", *, dead_letters: bool, yes: bool, json: bool) -> None:
    from marketlab.cli.terminal import print_json
    from marketlab.lab.spools import emptied

    gone: list[SpoolState] = []
    for place in places:
        with emptied(place, dead_letters=dead_letters) as (state, throw_away):
            if not (state.writers or state.dead_letters.count):
                continue
            if not yes and not _is_sure(state):
                continue
            throw_away()
            gone.append(state)
    if json:
        print_json(gone)
        return
    for state in gone:
        print(f"{_what(state)} for {state.store} are gone.")
    if not gone:
        print("Nothing was thrown away.")


def _what(state: "SpoolState") -> str:
    records = sum(sum(left.records.values()) for left in state.writers)
    refused = f" and {state.dead_letters.count:,} that it refused" if state.dead_letters.count else ""
    return f"{records:,} records in {sum(left.segments for left in state.writers):,} segments{refused}"


def _is_sure(state: "SpoolState") -> bool:
    from marketlab.errors import UsageError

    question = f"Throw away {_what(state)}, which wait for {state.store}?"
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Say so with --yes.")
    return typer.confirm(question, err=True)
