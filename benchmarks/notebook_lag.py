"""How far a notebook's feed lags behind the exchange while a cell keeps the interpreter busy.

A local exchange in this process plays a tape at its own uneven pace, sped up to 2,000 frames a second. A real kernel in
another process runs `ml.live` with default settings and, one after another, a cell that waits, one that loops in pure
Python, and one that calls C code which keeps the GIL. A record's lag is the time from when its frame was due and put
out by the exchange until the feed has handed it to a lossless subscriber, by one clock. At the end the records that came
are compared with the tape, by their ids and in order.

    python benchmarks/notebook_lag.py [TAPE] [--rate 2000] [--busy 30] [--hold 2] [--json]
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from marketlab import tapes
from marketlab.exchange_server.klines import Candle
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.looped import Looped
from marketlab.exchange_server.source import Contents, Source, TapeSource
from marketlab.records import Origin

ROOT = Path(__file__).resolve().parents[1]
TAPE = ROOT.parent / "shared" / "data" / "binance_spot" / "btcusdt_20240809.gz"
QUIET_S = 4.0
KINDS = {b"trade": "Trade", b"bookTicker": "Quote", b"depth@100ms": "BookUpdate"}

WORST_P99_S = 0.1
CAUGHT_UP_WITHIN_S = 2.0
QUIET_P99_S = 0.02

START = """
import ctypes, json, time
import marketlab as ml

moments, batches = {{}}, []
feed = ml.live([{symbol!r}], ["trade", "quote", "book"], ws_url={ws_url!r}, rest_url={rest_url!r})
noting = feed.lossless(lambda batch: batches.append((time.time_ns(), batch)))
"""
CELL = """
begun = time.time_ns()
{work}
moments[{name!r}] = begun, time.time_ns()
"""
WAITING = "time.sleep({seconds})"
LOOPING = """
end, number = time.monotonic() + {seconds}, 0
while time.monotonic() < end:
    for step in range(1_000):
        number = (number * 31 + step) % 1_000_003
"""
HOLDING = "ctypes.PyDLL(None).usleep({microseconds})"  # unlike CDLL, PyDLL calls without letting go of the GIL
END = """
feed.wait(idle=1.0, timeout=120)
status = feed.status()
feed.stop()

def id_of(record):
    kind = type(record).__name__
    return int(record.trade_id) if kind == "Trade" else record.update_id if kind == "Quote" else record.last_id

records = [
    (at, type(record).__name__, id_of(record))
    for at, batch in batches
    for record in batch
    if type(record).__name__ in ("Trade", "Quote", "BookUpdate")
]
others = sum(len(batch) for _, batch in batches) - len(records)
with open({path!r}, "w") as file:
    json.dump(dict(moments=moments, records=records, batches=len(batches), others=others, gaps=status.gaps), file)
"""


class Noted:
    """A source that remembers what was played, and when each line was asked for."""

    def __init__(self, source: Source) -> None:
        self.asked: list[int] = []
        self.played: list[tapes.Line] = []
        self._source = source

    @property
    def origin(self) -> Origin:
        return self._source.origin

    async def contents(self) -> Contents:
        return await self._source.contents()

    def history(self, symbol: str) -> Sequence[Candle]:
        return self._source.history(symbol)

    def lines(self) -> Iterator[tapes.Line]:
        for line in self._source.lines():
            self.asked.append(time.time_ns())
            self.played.append(line)
            yield line

    def sent(self, speed: float) -> list[float]:
        """When each line went out: when it was due, or later where the exchange itself was late."""
        began, first = self.asked[0], self.played[0].received
        due = (began + (line.received - first) / speed for line in self.played)
        return list(map(max, due, self.asked))


class Phase(NamedTuple):
    """Lags in seconds of the records that went out while a cell ran."""

    name: str
    lags: list[float]

    def at(self, share: float) -> float:
        return sorted(self.lags)[min(len(self.lags) - 1, int(share * len(self.lags)))]

    def figures(self) -> dict[str, float]:
        """Records, and milliseconds of lag."""
        lags = {"p50": self.at(0.5), "p99": self.at(0.99), "max": max(self.lags)}
        return {"records": len(self.lags), **{name: round(lag * 1000, 1) for name, lag in lags.items()}}


class _Ids(msgspec.Struct):
    t: int = 0
    u: int = 0


class _Frame(msgspec.Struct):
    data: _Ids


def fact(frame: bytes) -> tuple[str, int]:
    """The record that a frame has to become."""
    channel = frame[11 : frame.find(b'"', 11)].partition(b"@")[2]
    ids = msgspec.json.decode(frame, type=_Frame).data
    return KINDS[channel], ids.t if channel == b"trade" else ids.u


@contextmanager
def kernel(folder: str) -> Iterator[BlockingKernelClient]:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MARKETLAB_")}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=folder, env=settings, extra_arguments=["--log-level=ERROR"])
    client: Any = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> None:
    reply = client.execute_interactive(code, timeout=600, store_history=False)
    if reply["content"]["status"] != "ok":
        raise SystemExit(f"A cell failed: {reply['content'].get('ename')}: {reply['content'].get('evalue')}")


def cells(busy: float, hold: float) -> dict[str, str]:
    return {
        # Apart, since Python's first full garbage collection comes here: 50 ms and more beside a kernel's own objects.
        "starting": WAITING.format(seconds=QUIET_S / 2),
        "idle": WAITING.format(seconds=QUIET_S),
        "looping": LOOPING.format(seconds=busy),
        "after looping": WAITING.format(seconds=QUIET_S / 2),
        "holding the GIL": HOLDING.format(microseconds=int(hold * 1_000_000)),
        "after holding": WAITING.format(seconds=QUIET_S),
    }


def play(tape: Path, rate: float, busy: float, hold: float) -> tuple[Noted, float, Any]:
    """Run everything; returns what was played, how much faster than on the tape, and what the kernel has noted."""
    lines = [line for line in tapes.read(tape) if line.frame.startswith(b'{"stream"')]
    speed = rate / (len(lines) / (lines[-1].received - lines[0].received) * 1e9)
    symbol = lines[0].frame[11 : lines[0].frame.find(b"@")].decode().upper()
    needed = rate * (busy + hold + 4 * QUIET_S)
    source = Noted(Looped(TapeSource(tape), math.ceil(needed / len(lines))))
    with (
        tempfile.TemporaryDirectory() as folder,
        kernel(folder) as client,
        LocalExchange(source, speed=speed, start_after=None, hold=False) as exchange,
    ):
        notes = Path(folder) / "notes.json"
        run(client, START.format(symbol=symbol, ws_url=exchange.ws_url, rest_url=exchange.rest_url))
        exchange.begin()
        for name, work in cells(busy, hold).items():
            run(client, CELL.format(name=name, work=work))
        exchange.wait_done()
        run(client, END.format(path=str(notes)))
        return source, speed, json.loads(notes.read_text())


def judge(source: Noted, speed: float, noted: Any) -> tuple[list[Phase], float]:
    """The lags while each cell ran, and the seconds from the end of the C call until a record was no longer late."""
    sent = source.sent(speed)
    handed = [at for at, _, _ in noted["records"]]
    lags = [(at - when) / 1e9 for at, when in zip(handed, sent, strict=True)]
    phases = [
        Phase(name, [lag for lag, when in zip(lags, sent, strict=True) if begun <= when < ended])
        for name, (begun, ended) in noted["moments"].items()
    ]
    released = noted["moments"]["holding the GIL"][1]
    caught_up = next(at for at, lag in zip(handed, lags, strict=True) if at >= released and lag <= WORST_P99_S)
    return phases, (caught_up - released) / 1e9


def compared(source: Noted, noted: Any) -> str:
    """What is wrong with the records that came, in words."""
    sent = [fact(line.frame) for line in source.played]
    came = [(kind, id) for _, kind, id in noted["records"]]
    if sent == came:
        return f"{noted['gaps']} gaps" if noted["gaps"] else ""
    lost = len(set(sent) - set(came))
    return f"{lost} of {len(sent)} records are lost" if lost else "the records came in another order, or twice"


def report(phases: list[Phase], caught_up: float, noted: Any, rate: float, *, as_json: bool) -> bool:
    looping = next(phase for phase in phases if phase.name == "looping")
    good = looping.at(0.99) <= WORST_P99_S and caught_up <= CAUGHT_UP_WITHIN_S
    figures = {phase.name: phase.figures() for phase in phases}
    records, batches = len(noted["records"]), noted["batches"]
    if as_json:
        told = {"records": records, "batches": batches, "frames_per_second": rate, "lag_ms": figures}
        print(json.dumps({**told, "caught_up_seconds": round(caught_up, 3), "lost": 0, "good": good}))
        return good
    print(f"{records:,} records in {batches:,} batches at {rate:,.0f} frames a second; lags in milliseconds")
    print(f"{'while the kernel is':<20}{'records':>10}{'p50':>9}{'p99':>9}{'max':>9}")
    for name, row in figures.items():
        print(f"{name:<20}{row['records']:10,}{row['p50']:9.1f}{row['p99']:9.1f}{row['max']:9.1f}")
    print(f"looping: p99 {passed(looping.at(0.99) <= WORST_P99_S)} of {WORST_P99_S * 1000:.0f} ms")
    within = passed(caught_up <= CAUGHT_UP_WITHIN_S)
    print(f"after holding the GIL: caught up in {caught_up:.2f} s: {within} of {CAUGHT_UP_WITHIN_S:.0f} s")
    idle = next(phase for phase in phases if phase.name == "idle")
    if idle.at(0.99) > QUIET_P99_S:
        print("This machine is busy with something else: even beside an idle kernel lags are long.")
    print("nothing is lost: the records are those of the tape, in its order")
    return good


def passed(good: bool) -> str:
    return "within the gate" if good else "OUTSIDE THE GATE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", nargs="?", type=Path, default=TAPE)
    parser.add_argument("--rate", type=float, default=2_000, help="frames a second, on the average")
    parser.add_argument("--busy", type=float, default=30.0, help="seconds of the loop in pure Python")
    parser.add_argument("--hold", type=float, default=2.0, help="seconds of the call that keeps the GIL")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.tape.is_file():
        raise SystemExit(f"There is no tape {options.tape}; name one with @trade, @bookTicker and @depth frames.")
    source, speed, noted = play(options.tape.resolve(), options.rate, options.busy, options.hold)
    wrong = compared(source, noted)
    if wrong:
        raise SystemExit(f"LOST: {wrong}")
    phases, caught_up = judge(source, speed, noted)
    sys.exit(not report(phases, caught_up, noted, options.rate, as_json=options.json))


if __name__ == "__main__":
    main()
