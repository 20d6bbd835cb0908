"""Frames to records and books, beside cryptofeed and ccxt.pro: the same tape, the same questions, the same answers.

After every depth update each contestant is asked for the best bid and ask (all frames of the tape), or for the best
20 levels a side (its depth frames only). A first round compares the answers by their CRC and is not timed. Then the
contestants take turns, one process each, and the medians of work per second of CPU time are compared; what a
contestant does to read the file is not counted. Resident memory is the process's peak, its frames included.

    python benchmarks/decode_book.py [TAPE] [--rounds 3] [--install]

The peers live in a virtual environment of their own (--peers, default build/peers); --install makes it from PyPI.
"""

import argparse
import asyncio
import gc
import gzip
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
import venv
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Protocol, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
TAPE = ROOT.parent / "shared" / "data" / "binance_spot" / "btcusdt_20240809.gz"
PEERS = ROOT / "build" / "peers"
PACKAGES = ("cryptofeed", "ccxt")

GATES = {("best", "cryptofeed"): 10.0, ("best", "ccxt"): 8.0, ("top", "cryptofeed"): 10.0, ("top", "ccxt"): 2.5}
GOALS = {("best", "cryptofeed"): 12.0, ("best", "ccxt"): 10.0, ("top", "cryptofeed"): 12.0, ("top", "ccxt"): 3.0}
LARGEST_MB = 60.0
DEPTH = 20

Question: TypeAlias = Literal["best", "top"]
Answer: TypeAlias = Callable[[Any], None]


class Contestant(Protocol):
    def prepare(self, frames: list[bytes]) -> Sequence[Any]:
        """The frames as this contestant receives them."""
        ...

    def run(self, frames: Sequence[Any]) -> None:
        """Everything that is timed."""
        ...


def plain(question: Question, told: Any) -> Any:
    if question == "best":
        return tuple(price and float(price) for price in told)
    return tuple([(float(price), float(size)) for price, size in side] for side in told)


class Ours:
    def __init__(self, symbol: str, first_id: int, question: Question, answer: Answer | None) -> None:
        from marketlab.exchanges import find
        from marketlab.exchanges.contract import Connection
        from marketlab.market.orderbook import OrderBook
        from marketlab.records import BookSnapshot, BookUpdate

        self.update_type = BookUpdate
        self.session = find("binance").session(Connection("/stream", ()))
        self.book = OrderBook("binance", symbol)
        self.book.load(BookSnapshot("binance", symbol, first_id - 1, 0, [], [], 5000, True, 0, "rest"))
        self.question = question
        self.answer = answer

    def prepare(self, frames: list[bytes]) -> list[bytes]:
        return frames

    def run(self, frames: Sequence[bytes]) -> None:
        received, book, update_type, answer = self.session.received, self.book, self.update_type, self.answer
        best = self.question == "best"
        at = 1_723_161_600_000_000
        for frame in frames:
            for record in received(frame, at):
                if type(record) is update_type:
                    book.apply(record)
                    told: Any = (book.best_bid, book.best_ask) if best else book.top(DEPTH)
                    if answer is not None:
                        answer(told)


class Cryptofeed:
    def __init__(self, symbol: str, first_id: int, question: Question, answer: Answer | None) -> None:
        logging.disable(logging.CRITICAL)
        from cryptofeed.defines import L2_BOOK, TICKER, TRADES
        from cryptofeed.exchanges import Binance
        from cryptofeed.symbols import Symbols
        from cryptofeed.types import OrderBook

        name = f"{symbol.removesuffix('USDT')}-USDT"
        Symbols.set(Binance.id, {name: symbol}, {"symbols": [name], "tick_size": {}, "instrument_type": {}})

        async def ignore(_data: Any, _received: float) -> None:
            pass

        async def updated(book: Any, _received: float) -> None:
            told = self.best(book.book) if question == "best" else self.top(book.book)
            if answer is not None:
                answer(told)

        callbacks = {TRADES: ignore, TICKER: ignore, L2_BOOK: updated}
        self.feed = Binance(symbols=[name], channels=list(callbacks), callbacks=callbacks)
        empty: dict[Decimal, Decimal] = {}
        self.feed._l2_book[name] = OrderBook(Binance.id, name, max_depth=self.feed.max_depth, bids=empty, asks=empty)
        self.feed.last_update_id[name] = first_id - 1

    @staticmethod
    def best(book: Any) -> Any:
        bids, asks = book.bids, book.asks
        return bids.index(0)[0] if len(bids) else None, asks.index(0)[0] if len(asks) else None

    @staticmethod
    def top(book: Any) -> Any:
        return tuple([side.index(n) for n in range(min(DEPTH, len(side)))] for side in (book.bids, book.asks))

    def prepare(self, frames: list[bytes]) -> list[str]:
        # It has no handler for @trade; @aggTrade's frames are alike but for these two keys.
        return [
            (frame.replace(b'"trade"', b'"aggTrade"').replace(b'"t":', b'"a":') if b"@trade" in frame[:45] else frame)
            .decode()
            for frame in frames
        ]  # fmt: skip

    def run(self, frames: Sequence[str]) -> None:
        handle = self.feed.message_handler

        async def main() -> None:
            for frame in frames:
                await handle(frame, None, 0.0)

        asyncio.run(main())


class Ccxt:
    def __init__(self, symbol: str, first_id: int, question: Question, answer: Answer | None) -> None:
        import ccxt.pro

        base, name = symbol.removesuffix("USDT"), f"{symbol.removesuffix('USDT')}/USDT"
        exchange = ccxt.pro.binance()
        market = {"id": symbol, "symbol": name, "base": base, "quote": "USDT", "baseId": base, "quoteId": "USDT"}
        kind = {"type": "spot", "spot": True, "swap": False, "contract": False, "active": True}
        exchange.set_markets([exchange.safe_market_structure(market | kind)])
        self.book = exchange.order_book({}, 1000)
        self.book.reset({"bids": [], "asks": [], "nonce": first_id - 1})
        self.book["symbol"] = name
        exchange.orderbooks[name] = self.book
        # What a handler touches of its connection.
        self.client = SimpleNamespace(
            url="wss://stream.binance.com:9443/stream",
            subscriptions={},
            futures={},
            resolve=lambda result, _hash: result,
            reject=self.reject,
        )
        self.exchange = exchange
        self.loads = import_module("orjson").loads  # which it uses too, where it is installed
        self.question = question
        self.answer = answer

    @staticmethod
    def reject(error: Exception, _hash: str | None = None) -> None:
        raise error

    def prepare(self, frames: list[bytes]) -> list[str]:
        return [frame.decode() for frame in frames]

    def run(self, frames: Sequence[str]) -> None:
        handle, client, loads, book, answer = (
            self.exchange.handle_message, self.client, self.loads, self.book, self.answer,
        )  # fmt: skip
        best = self.question == "best"
        told: Any
        for frame in frames:
            message = loads(frame)
            handle(client, message)
            if message["data"].get("e") == "depthUpdate":
                book.limit()
                bids, asks = book["bids"], book["asks"]
                if best:
                    told = bids[0][0] if bids else None, asks[0][0] if asks else None
                else:
                    told = bids[:DEPTH], asks[:DEPTH]
                if answer is not None:
                    answer(told)


CONTESTANTS: dict[str, Callable[[str, int, Question, Answer | None], Contestant]] = {
    "marketlab": Ours,
    "cryptofeed": Cryptofeed,
    "ccxt": Ccxt,
}


def frames_of(tape: Path, question: Question) -> tuple[str, int, list[bytes]]:
    with gzip.open(tape) as lines:
        frames = [frame for line in lines if (frame := line.rstrip().partition(b" ")[2]).startswith(b'{"stream"')]
    updates = [frame for frame in frames if b"@depth" in frame[:45]]
    first = json.loads(updates[0])["data"]
    return first["s"], first["U"], frames if question == "best" else updates


def work(name: str, tape: Path, question: Question, compare: bool) -> dict[str, Any]:
    symbol, first_id, frames = frames_of(tape, question)
    answers: list[Any] = []
    contestant = CONTESTANTS[name](
        symbol, first_id, question, (lambda told: answers.append(plain(question, told))) if compare else None
    )
    prepared = contestant.prepare(frames)
    del frames
    gc.collect()
    begun = time.process_time()
    contestant.run(prepared)
    taken = time.process_time() - begun
    return {
        "rate": len(prepared) / taken,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "answers": len(answers),
        "crc": zlib.crc32(repr(answers).encode()),
    }


def in_a_process(python: Path | str, name: str, tape: Path, question: Question, compare: bool) -> dict[str, Any]:
    command = [str(python), __file__, str(tape), "--contestant", name, "--question", question]
    done = subprocess.run(command + ["--compare"] * compare, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def peers_python(folder: Path, install: bool) -> Path:
    python = folder / "bin" / "python"
    have = (
        python.exists()
        and not subprocess.run([python, "-c", "import cryptofeed, ccxt"], check=False, capture_output=True).returncode
    )
    if have:
        return python
    if not install:
        packages = " and ".join(PACKAGES)
        raise SystemExit(f"{packages} are not in {folder}. Run again with --install to put them there from PyPI.")
    print(f"Installing {', '.join(PACKAGES)} into {folder} ...", flush=True)
    venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def compare(pythons: dict[str, Path | str], tape: Path, rounds: int) -> bool:
    good = True
    questions: tuple[Question, ...] = ("best", "top")
    for question in questions:
        told = {name: in_a_process(python, name, tape, question, True) for name, python in pythons.items()}
        same = len({(result["crc"], result["answers"]) for result in told.values()}) == 1
        good &= same
        print(f"{question}: {told['marketlab']['answers']} answers, {'all equal' if same else f'NOT EQUAL: {told}'}")
    rates: dict[tuple[str, str], list[float]] = {}
    peaks: dict[str, float] = {}
    for _ in range(rounds):
        for question in questions:
            for name, python in pythons.items():
                result = in_a_process(python, name, tape, question, False)
                rates.setdefault((question, name), []).append(result["rate"])
                peaks[name] = max(peaks.get(name, 0.0), result["peak_mb"])
    for question in questions:
        ours = statistics.median(rates[question, "marketlab"])
        for name in pythons:
            good &= report(question, name, statistics.median(rates[question, name]), ours, peaks[name])
    print(
        f"marketlab's peak of {peaks['marketlab']:.0f} MB: {passed(peaks['marketlab'] <= LARGEST_MB)} of {LARGEST_MB:.0f} MB"
    )
    return good and peaks["marketlab"] <= LARGEST_MB


def report(question: Question, name: str, rate: float, ours: float, peak: float) -> bool:
    unit = "frames" if question == "best" else "updates"
    line = f"{question:4} {name:10} {rate:10,.0f} {unit:7} per CPU-second {peak:6.0f} MB"
    gate = GATES.get((question, name))
    if gate is None:
        print(line)
        return True
    ratio = ours / rate
    print(f"{line}   ratio {ratio:5.1f}: {passed(ratio >= gate)} of {gate}, goal {GOALS[question, name]}")
    return ratio >= gate


def passed(good: bool) -> str:
    return "within the gate" if good else "OUTSIDE THE GATE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", nargs="?", type=Path, default=TAPE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=PEERS)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--question", choices=("best", "top"), help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(work(options.contestant, options.tape, options.question, options.compare)))
        return
    if not options.tape.is_file():
        raise SystemExit(f"There is no tape {options.tape}; name one with @trade, @bookTicker and @depth frames.")
    peers = peers_python(options.peers, options.install)
    pythons: dict[str, Path | str] = {"marketlab": sys.executable, "cryptofeed": peers, "ccxt": peers}
    sys.exit(0 if compare(pythons, options.tape.resolve(), options.rounds) else 1)


if __name__ == "__main__":
    main()
