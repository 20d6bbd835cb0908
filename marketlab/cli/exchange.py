"""`marketlab exchange`: Binance's protocol on this machine."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import Json

if TYPE_CHECKING:
    from marketlab.exchange_server import ExchangeServer, Source

__all__ = ["EXAMPLES", "exchange"]

EXAMPLES = """
marketlab exchange --simulate                                    # made-up prices, at their own pace
marketlab exchange --simulate --seed 1 --start 2024-08-09 --duration 300 --speed 20
marketlab exchange --tape btcusdt.gz --speed max --port 9000     # a recording, as fast as it is read
marketlab exchange --tape monday.gz --tape tuesday.gz            # one after the other
marketlab exchange --simulate --fault hole --fault stall         # and how does your program take that?
"""


def exchange(
    tape: Annotated[
        list[Path] | None,
        typer.Option("--tape", metavar="FILE", help="Play this recording; again for more, one after another."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Make the data up; it is marked as simulated.")] = False,
    symbols: Annotated[str, typer.Option("--symbols", metavar="A,B", help="What is simulated.")] = "BTCUSDT,ETHUSDT",
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another simulation.")] = 1,
    start: Annotated[str, typer.Option("--start", metavar="DATE", help="When the simulation begins.")] = "2024-08-09",
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", help="Seconds of exchange time that are simulated.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    speed: Annotated[
        str, typer.Option("--speed", metavar="X|max", help="Times the original pace, or as fast as clients read.")
    ] = "1",
    start_after: Annotated[
        float, typer.Option("--start-after", metavar="S", min=0, help="Start when subscriptions were quiet so long.")
    ] = 0.3,
    hold: Annotated[
        bool, typer.Option("--hold/--no-hold", help="Wait for the first /depth of symbols with a depth stream.")
    ] = True,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", metavar="KIND", help="Misbehave: malformed-frames, hole, drop-connection, stall; again for more."
        ),
    ] = None,
    fault_every: Annotated[int, typer.Option("--fault-every", metavar="N", help="After so many frames.")] = 1000,
    loop: Annotated[int, typer.Option("--loop", metavar="N", min=1, help="Play so often, as one stream.")] = 1,
    exit_when_done: Annotated[
        bool, typer.Option("--exit-when-done", help="End when everything was played, not at Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Serve Binance's REST and WebSocket protocol, from a tape or a simulation, until Ctrl-C.

    The play starts when clients have subscribed and then been quiet for --start-after, or at POST /control/start;
    GET /control/status says how far it is. All answers say in a header that they are replayed or simulated.
    """
    import asyncio

    from marketlab.errors import UsageError
    from marketlab.exchange_server import ExchangeServer

    if bool(tape) == simulate:
        raise UsageError("Say what to play: either --tape FILE or --simulate.")
    server = ExchangeServer(
        _simulation(symbols, seed, start, duration) if simulate else _recording(tape or []),
        host=host,
        port=port,
        speed=_speed(speed),
        start_after=start_after,
        hold=hold,
        loop=loop,
        faults=fault or (),
        fault_every=fault_every,
    )
    asyncio.run(_serve(server, exit_when_done=exit_when_done, json=json))


def _simulation(symbols: str, seed: int, start: str, duration: float | None) -> "Source":
    from marketlab.exchange_server import Simulation
    from marketlab.instruments import canonical

    named = [canonical(symbol) for symbol in symbols.replace(",", " ").split()]
    return Simulation(named, seed=seed, start=start, duration=duration)


def _recording(tapes: list[Path]) -> "Source":
    from marketlab.exchange_server import TapeSource

    return TapeSource(*tapes)


def _speed(text: str) -> float:
    from marketlab.errors import UsageError

    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise UsageError(f"{text!r} is not a speed; write how many times the original pace, such as 1 or 20, or max.")
    return speed


async def _serve(server: "ExchangeServer", *, exit_when_done: bool, json: bool) -> None:
    import asyncio
    import contextlib
    import signal

    stopping = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C then comes as KeyboardInterrupt
            running.add_signal_handler(number, stopping.set)
    async with server:
        _announce(server, json=json)
        stopped = asyncio.create_task(stopping.wait())
        done = asyncio.create_task(server.done.wait())
        await asyncio.wait({stopped, done}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.is_set():
            _say_done(server)
            if not exit_when_done:
                await stopped
        stopped.cancel()
        done.cancel()


def _announce(server: "ExchangeServer", *, json: bool) -> None:
    import msgspec

    from marketlab.cli.terminal import note, print_json

    status = server.status()
    symbols = msgspec.convert(status["symbols"], list[str])
    if json:
        print_json(
            {"ws_url": server.ws_url, "rest_url": server.rest_url, "origin": status["origin"], "symbols": symbols}
        )
        return
    print(f"A {status['origin']} exchange with {', '.join(symbols)}")
    print(f"  streams  {server.ws_url}")
    print(f"  REST     {server.rest_url}")
    print("Next, in another terminal:")
    print(
        f"  marketlab collect {' '.join(symbols)} --ws-url {server.ws_url} --rest-url {server.rest_url} --until-idle 3",
        flush=True,
    )
    note("Ctrl-C ends it.")


def _say_done(server: "ExchangeServer") -> None:
    from marketlab.cli.terminal import note

    note(f"Everything was played: {server.status()['played']:,} frames.")
