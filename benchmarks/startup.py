"""How long one waits: imports, help texts, and the first price of the demo.

Whole processes, in interleaved rounds so that a busy moment hits all of them alike; medians, and ratios to
`import polars` in the same run. The first price is the first line of `marketlab demo` that shows one.

    python benchmarks/startup.py [rounds]
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASE = "import polars"
PROGRAM = [sys.executable, "-m", "marketlab"]
COMMANDS = {
    BASE: [sys.executable, "-c", "import polars"],
    "import marketlab": [sys.executable, "-c", "import marketlab"],
    "marketlab --help": [*PROGRAM, "--help"],
    "marketlab collect --help": [*PROGRAM, "collect", "--help"],
}
ALLOWED = {"import marketlab": 0.25, "marketlab --help": 0.5, "marketlab collect --help": 1.0}
FIRST_PRICE_S, DEMO_S = 5.0, 30.0
PRICE = re.compile(r"BTCUSDT\D*[\d,]{3,}\.\d")


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def measure(rounds: int) -> dict[str, float]:
    for command in COMMANDS.values():
        seconds(command)  # files into the page cache, byte code onto the disk
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    return {name: statistics.median(times) for name, times in taken.items()}


def demo_seconds() -> tuple[float | None, float]:
    """Seconds until the demo's first price, and until it has ended by itself."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with subprocess.Popen(
            [*PROGRAM, "demo"], cwd=Path(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as demo:
            assert demo.stdout is not None
            try:
                price = next((time.perf_counter() - begun for line in demo.stdout if PRICE.search(line)), None)
                demo.stdout.read()
                demo.wait(DEMO_S * 4)
            finally:
                demo.kill()
        return price, time.perf_counter() - begun


def main() -> None:
    medians = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    good = True
    for name, median in medians.items():
        ratio = median / medians[BASE]
        allowed = ALLOWED.get(name)
        good &= allowed is None or ratio <= allowed
        print(f"{name:<26}{median * 1000:7.0f} ms{ratio:7.2f}x{f'   at most {allowed}x' if allowed else ''}")
    price, whole = demo_seconds()
    good &= price is not None and price <= FIRST_PRICE_S and whole <= DEMO_S
    print(f"{'first price of the demo':<26}{f'{price:7.2f} s' if price else '  never'}   at most {FIRST_PRICE_S} s")
    print(f"{'the whole demo':<26}{whole:7.2f} s   at most {DEMO_S} s")
    sys.exit(not good)


if __name__ == "__main__":
    main()
