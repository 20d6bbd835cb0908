"""Lines into InfluxDB and tables out of it, beside influxdb-client, influxdb3-python and PyPI's influxdb.

Everybody gets the same points (klines of 50 symbols, with all their fields) and takes turns; medians are compared, of
CPU time where nobody waits for a server. Before that it is made sure that all understand them alike.

- No server: a table to line protocol, and an annotated CSV answer of Flux to a table.
- 1.x: written to and read from a server that this starts itself where influxd is installed, beside the DataFrameClient
  of PyPI's influxdb, which needs an old pandas and so a virtual environment of its own (--peer); --install makes it.
  Then as many trades as --large says are read in pieces by a process whose memory is watched.
- 2.x and 3.x: beside influxdb-client, on the servers that MARKETLAB_TEST_INFLUXDB2_URL (_TOKEN, _ORG) and
  MARKETLAB_TEST_INFLUXDB3_URL (_TOKEN) name.

    python benchmarks/influxdb.py [--rows 200000] [--rounds 3] [--large 5000000] [--install]
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    import polars as pl

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "build" / "influxdb_peer"
PACKAGES = ("influxdb==5.3.2", "pandas==1.5.3", "numpy<2")

MEASUREMENT = "crypto_price"
TAGS = ["exchange", "symbol", "interval"]
NAMES = {"data_frame_measurement_name": MEASUREMENT, "data_frame_tag_columns": TAGS}
SYMBOLS = 50
START_US = 1_700_000_000_000_000
BATCH = 5_000

SERIALISE, PARSE = 7.0, 10.0
WRITE, WRITE_CPU, READ = 1.8, 8.0, 4.0
FLIGHT, WRITE_3_S = 20.0, 6.0
LARGEST_MB = 300.0

good = True


def judged(text: str, value: float, goal: float, *, at_least: bool = True, unit: str = "x") -> None:
    global good
    met = value >= goal if at_least else value <= goal
    good &= met
    words = f"{'at least' if at_least else 'at most'} {goal:g}{unit}"
    print(f"{text:64} {value:7.1f}{unit:3} goal {words}: {'met' if met else 'MISSED'}", flush=True)


def told(text: str) -> None:
    print(text, flush=True)


# The points


def klines(rows: int) -> "pl.DataFrame":
    import polars as pl

    from marketlab import tables

    number = pl.int_range(rows, dtype=pl.Int64)
    chance = (number.hash(1) % 1_000_000).cast(pl.Float64) / 1_000_000
    price = (100 + 50 * (number / 5_000).sin() + chance).round(2)
    opened = START_US + number // SYMBOLS * 60_000_000
    table = pl.select(
        exchange=pl.lit("binance"),
        symbol=pl.format("SYM{}USDT", (number % SYMBOLS + 10).cast(pl.String)),
        interval=pl.lit("1m"),
        open_time=opened.cast(tables.TIME),
        close_time=(opened + 59_999_999).cast(tables.TIME),
        open=price,
        high=(price + 0.13).round(2),
        low=(price - 0.11).round(2),
        close=(price + 0.02).round(2),
        volume=(20 * chance).round(5),
        quote_volume=(20 * chance * price).round(4),
        trade_count=number % 977,
        taker_buy_volume=(9 * chance).round(5),
        taker_buy_quote_volume=(9 * chance * price).round(4),
        closed=pl.lit(True),
        received=(opened + 60_012_345).cast(tables.TIME),
        origin=pl.lit("stream"),
    )
    return table.select(list(tables.spec("klines").schema))


def trades(start: int, rows: int) -> "pl.DataFrame":
    import polars as pl

    from marketlab import tables

    number = pl.int_range(start, start + rows, dtype=pl.Int64)
    at = (START_US + number * 1_000).cast(tables.TIME)
    price = (60_000 + (number.hash(1) % 100_000).cast(pl.Float64) / 100).round(2)
    return pl.select(
        exchange=pl.lit("binance"),
        symbol=pl.lit("BTCUSDT"),
        trade_id=number.cast(pl.String),
        time=at,
        price=price,
        size=((number.hash(2) % 100_000).cast(pl.Float64) / 100_000).round(5),
        side=pl.when(number % 2 == 0).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        received=at,
        origin=pl.lit("stream"),
    )


def points(rows: int) -> "pl.DataFrame":
    from marketlab.stores.influxdb import layout

    return layout.points("klines", klines(rows))


def with_index(table: "pl.DataFrame") -> Any:
    import polars as pl

    return table.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC"))).to_pandas().set_index("time")


# Without a server


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    gc.collect()
    begun, used = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - begun, time.process_time() - used


def in_turns(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(timed(work)[2])
    return {name: statistics.median(times) for name, times in taken.items()}


def ours_as_lines(table: "pl.DataFrame") -> list[bytes]:
    """In requests, as the store sends them."""
    from marketlab.stores.influxdb import layout
    from marketlab.stores.influxdb.lines import lines

    text = lines(MEASUREMENT, TAGS, layout.points("klines", table))
    return [text.slice(start, BATCH).str.join("\n").item().encode() for start in range(0, text.len(), BATCH)]


def client_as_lines(table: Any) -> bytes:
    from influxdb_client.client.write_api import PointSettings

    serializer: Any = import_module("influxdb_client.client.write.dataframe_serializer")
    found = serializer.data_frame_to_list_of_points(table, PointSettings(), precision="ns", **NAMES)
    return "\n".join(found).encode()


def client3_as_lines(table: "pl.DataFrame") -> bytes:
    from influxdb_client_3.write_client.client.write_api import PointSettings

    serializer: Any = import_module("influxdb_client_3.write_client.client.write.polars_dataframe_serializer")
    more = {"data_frame_timestamp_column": "time", "precision": "ns"}
    found = serializer.polars_data_frame_to_list_of_points(table, PointSettings(), **NAMES, **more)
    return "\n".join(found).encode()


def meant(body: bytes) -> list[Any]:
    """What lines say: nothing here needs an escape, and texts hold no blank."""
    found = []
    for line in body.decode().splitlines():
        head, fields, at = line.split(" ")
        name, *tags = head.split(",")
        pairs = (field.split("=") for field in fields.split(","))
        found.append((name, sorted(tags), {key: value(text) for key, text in pairs}, at))
    return found


def value(text: str) -> Any:
    if text[-1] in '"i':
        return text
    return text[0].lower() if text[0] in "tTfF" else float(text)


def serialise(rows: int, rounds: int) -> None:
    table, few = klines(rows), rows // 5
    made = points(rows)
    frame = with_index(made)
    small = b"\n".join(ours_as_lines(table.head(2_000)))
    assert meant(small) == meant(client_as_lines(frame.iloc[:2_000])) == meant(client3_as_lines(made.head(2_000)))
    told("lines: all say the same of 2,000 points")
    seconds = in_turns(
        rounds,
        {
            "marketlab": lambda: ours_as_lines(table),
            "influxdb-client": lambda: client_as_lines(frame.iloc[:few]),
            "influxdb3-python": lambda: client3_as_lines(made.head(few)),
        },
    )
    rates = {name: (rows if name == "marketlab" else few) / taken for name, taken in seconds.items()}
    for name, rate in rates.items():
        told(f"  {name:20} {rate:12,.0f} points per CPU-second")
    judged("lines: marketlab to influxdb-client's DataFrame", rates["marketlab"] / rates["influxdb-client"], SERIALISE)
    judged("lines: marketlab to influxdb3-python's polars", rates["marketlab"] / rates["influxdb3-python"], SERIALISE)


def flux_answer(rows: int) -> bytes:
    """What a 2.x server answers to a pivoted question for six fields."""
    import polars as pl

    names = ["open", "high", "low", "close", "volume", "quote_volume"]
    table = points(rows).select(
        *(pl.lit("").alias(name) for name in ("mark", "result")),
        pl.col("symbol").rank("dense").alias("table"),
        pl.from_epoch(pl.col("time"), "ns").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("_time"),
        "symbol",
        *names,
    )
    head = (
        f"#datatype,string,long,dateTime:RFC3339,string{',double' * len(names)}\r\n"
        f"#group,false,false,false,true{',false' * len(names)}\r\n#default,_result,,,{',' * len(names)}\r\n"
    )
    header = f",result,table,_time,symbol,{','.join(names)}\r\n"
    body = table.sort("table", "_time").write_csv(include_header=False, line_terminator="\r\n", quote_style="never")
    return f"{head}{header}{body}\r\n".encode()


def parse(rows: int, rounds: int) -> None:
    from marketlab.stores.influxdb.flux import table_of

    small, body = flux_answer(2_000), flux_answer(rows)
    ours, (theirs,) = table_of(small), client_table(small)
    assert ours.height == len(theirs) == 2_000
    for name in ("open", "quote_volume"):
        assert ours.get_column(name).to_list() == theirs[name].to_list()
    seconds = in_turns(rounds, {"marketlab": lambda: table_of(body), "influxdb-client": lambda: client_table(body)})
    for name, taken in seconds.items():
        told(f"  {name:20} {rows / taken:12,.0f} rows per CPU-second")
    judged("answers: marketlab to influxdb-client", seconds["influxdb-client"] / seconds["marketlab"], PARSE)


def client_table(body: bytes) -> list[Any]:
    from urllib3 import HTTPResponse

    module: Any = import_module("influxdb_client.client.flux_csv_parser")
    answer = HTTPResponse(body=BytesIO(body), preload_content=False)
    full = module.FluxResponseMetadataMode.full
    parser = module.FluxCsvParser(answer, module.FluxSerializationMode.dataFrame, response_metadata_mode=full)
    with parser:
        return list(parser.generator())


# Against servers. Each contestant is a process: `--contestant NAME ADDRESS`, which writes all and reads it again.


def written_and_read(write: Callable[[], object], read: Callable[[], Any]) -> dict[str, Any]:
    _, write_s, write_cpu = timed(write)
    found, read_s, read_cpu = timed(read)
    sums = {"rows": len(found), "trades": int(found["trade_count"].sum()), "volume": float(found["volume"].sum())}
    return sums | {"write": write_s, "write_cpu": write_cpu, "read": read_s, "read_cpu": read_cpu}


def ours(url: str, rows: int, _file: Path) -> dict[str, Any]:
    from marketlab import open_store

    table = klines(rows)
    with open_store(url) as store:
        answer = written_and_read(lambda: store.write("klines", table), lambda: store.read("klines"))
        store.delete("klines")
    return answer


def client1(url: str, rows: int, file: Path) -> dict[str, Any]:
    pandas = import_module("pandas")
    at = urlsplit(url)
    database = at.path.strip("/")
    client = import_module("influxdb").DataFrameClient(at.hostname, at.port, database=database, timeout=600)
    client.create_database(database)
    frame = pandas.read_csv(file)
    frame = frame.set_index(pandas.to_datetime(frame.pop("time"), utc=True))
    return written_and_read(
        lambda: client.write_points(frame, MEASUREMENT, tag_columns=TAGS, batch_size=BATCH, time_precision="n"),
        lambda: client.query(f"SELECT * FROM {MEASUREMENT}")[MEASUREMENT],
    )


def client2(url: str, rows: int, _file: Path) -> dict[str, Any]:
    from influxdb_client.client.influxdb_client import InfluxDBClient
    from influxdb_client.client.write_api import SYNCHRONOUS

    at = urlsplit(url)
    bucket, org = at.path.strip("/"), os.environ["MARKETLAB_TEST_INFLUXDB2_ORG"]
    frame = with_index(points(rows))
    question = (
        f'from(bucket: "{bucket}") |> range(start: 0) |> filter(fn: (r) => r._measurement == "{MEASUREMENT}")'
        ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
    )
    address = os.environ["MARKETLAB_TEST_INFLUXDB2_URL"]
    with InfluxDBClient(address, os.environ["INFLUXDB_TOKEN"], org=org, timeout=600_000) as client:
        made = client.buckets_api().create_bucket(bucket_name=bucket, org=org)
        writing = client.write_api(SYNCHRONOUS)

        def write() -> None:
            for start in range(0, rows, BATCH):
                writing.write(bucket, org, frame.iloc[start : start + BATCH], write_precision="ns", **NAMES)

        answer = written_and_read(write, lambda: client.query_api().query_data_frame(question))
        client.buckets_api().delete_bucket(made)
    return answer


def peak_mb() -> float:
    """Since this program began; what getrusage tells begins with the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_000


def large(url: str, rows: int, _file: Path) -> dict[str, Any]:
    """Reads everything in pieces and keeps nothing."""
    from marketlab import open_store

    with open_store(url) as store:
        assert store.exists
        gc.collect()
        before = peak_mb()
        begun = time.perf_counter()
        found = sum(piece.height for piece in store.batches("trades", symbol="BTCUSDT"))
        taken = time.perf_counter() - begun
    return {"rows": found, "grown_mb": peak_mb() - before, "peak_mb": peak_mb(), "seconds": taken}


CONTESTANTS: dict[str, Callable[[str, int, Path], dict[str, Any]]] = {
    "marketlab": ours,
    "influxdb": client1,
    "influxdb-client": client2,
    "large": large,
}


def contest(python: Path | str, name: str, url: str, rows: int, file: Path) -> dict[str, Any]:
    # -P, since this file has the name of one of them.
    command = [str(python), "-P", __file__, "--contestant", name, "--url", url, f"--rows={rows}", f"--file={file}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(results: list[dict[str, Any]]) -> dict[str, float]:
    return {part: statistics.median(result[part] for result in results) for part in results[0]}


def in_rounds(
    rounds: int, rows: int, pythons: dict[str, Path], place: Callable[[], str], file: Path
) -> dict[str, dict[str, float]]:
    """Let all take turns, tell their medians, and be sure that all of them read the same."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for _ in range(rounds):
        for name, python in pythons.items():
            results[name].append(contest(python, name, place(), rows, file))
    found = {name: medians(rest) for name, rest in results.items()}
    for name, its in found.items():
        write = f"write {rows / its['write']:9,.0f} rows/s ({its['write_cpu']:5.2f} CPU-s)"
        told(f"  {name:20} {write}   read {rows / its['read']:9,.0f} rows/s ({its['read_cpu']:5.2f} CPU-s)")
    read = {(its["rows"], its["trades"], round(its["volume"], 3)) for its in found.values()}
    assert len(read) == 1, f"they read different things: {found}"
    return found


def fresh(begin: str, more: str = "") -> str:
    return f"{begin}/bench_{uuid4().hex}?create=true{more}"


def version_1(peer: Path, rows: int, rounds: int, many: int) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.servers import InfluxServer

    if InfluxServer.missing():
        told("1.x: influxd is not installed, so this part is left out")
        return
    with InfluxServer() as server, tempfile.TemporaryDirectory() as folder:
        begin, file = f"influxdb://{server.host}", Path(folder) / "points.csv"
        points(rows).write_csv(file)
        told(f"1.x: {rows:,} points, written and read")
        pythons = {"marketlab": Path(sys.executable), "influxdb": peer}
        found = in_rounds(rounds, rows, pythons, lambda: fresh(begin), file)
        for part in ("write", "write_cpu", "read", "read_cpu"):
            ratio = found["influxdb"][part] / found["marketlab"][part]
            told(f"{f'1.x: {part}, influxdb to marketlab':64} {ratio:7.1f}x")
        if many:
            in_pieces(fresh(begin), many, file)


def in_pieces(url: str, rows: int, file: Path) -> None:
    from marketlab import open_store

    with open_store(url) as store:
        for start in range(0, rows, 250_000):
            store.write("trades", trades(start, min(250_000, rows - start)))
    found = contest(sys.executable, "large", url, rows, file)
    assert found["rows"] == rows
    told(f"  {rows:,} trades in pieces: {rows / found['seconds']:,.0f} rows/s, peak {found['peak_mb']:.0f} MB")
    judged(f"{rows:,} rows read in pieces: growth", found["grown_mb"], LARGEST_MB, at_least=False, unit=" MB")


def elsewhere(version: int) -> tuple[str, str]:
    """The URL of a server from the environment, as our stores are called, and the rest of its query; or nothing."""
    name = f"MARKETLAB_TEST_INFLUXDB{version}"
    at = urlsplit(os.environ.get(f"{name}_URL", ""))
    if not at.netloc:
        told(f"{version}.x: {name}_URL is not set, so this part is left out")
    os.environ["INFLUXDB_TOKEN"] = os.environ.get(f"{name}_TOKEN", "")
    org = f"&org={os.environ.get(f'{name}_ORG', '')}" if version == 2 else ""
    return at.netloc and f"influxdb://{at.netloc}", f"&version={version}{org}{'&tls=true' * (at.scheme == 'https')}"


def version_2(rows: int, rounds: int) -> float:
    """Gives the seconds that `query_data_frame` takes; 0 where there is no server."""
    begin, more = elsewhere(2)
    if not begin:
        return 0.0
    told(f"2.x: {rows:,} points, written and read")
    pythons = dict.fromkeys(("marketlab", "influxdb-client"), Path(sys.executable))
    found = in_rounds(rounds, rows, pythons, lambda: fresh(begin, more), Path())
    our, their = found["marketlab"], found["influxdb-client"]
    judged("2.x: write, influxdb-client to marketlab", their["write"] / our["write"], WRITE)
    judged("2.x: write, CPU of influxdb-client to marketlab", their["write_cpu"] / our["write_cpu"], WRITE_CPU)
    judged("2.x: read, query_data_frame to marketlab", their["read"] / our["read"], READ)
    return their["read"]


def version_3(rows: int, rounds: int, reading_2: float) -> None:
    begin, more = elsewhere(3)
    if not begin:
        return
    told(f"3.x: {rows:,} points, written and read")
    # It has room for few databases.
    url = fresh(begin, more)
    our = in_rounds(rounds, rows, {"marketlab": Path(sys.executable)}, lambda: url, Path())["marketlab"]
    judged("3.x: write, synchronously", our["write"], WRITE_3_S, at_least=False, unit=" s")
    if reading_2:
        judged("3.x: read through Flight, query_data_frame on 2.x to it", reading_2 / our["read"], FLIGHT)


def peer_python(folder: Path, install: bool) -> Path:
    python = folder / "bin" / "python"
    if python.exists() and not subprocess.run([python, "-c", "import influxdb"], check=False).returncode:
        return python
    if not install:
        raise SystemExit(f"influxdb is not in {folder}. Run again with --install to put it there from PyPI.")
    told(f"Installing {', '.join(PACKAGES)} into {folder} ...")
    venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=5_000_000, help="0: not at all")
    parser.add_argument("--peer", type=Path, default=PEER)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, default=Path(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(CONTESTANTS[options.contestant](options.url, options.rows, options.file)))
        return
    peer = peer_python(options.peer, options.install)
    serialise(options.rows, options.rounds)
    parse(options.rows, options.rounds)
    version_1(peer, options.rows, options.rounds, options.large)
    version_3(options.rows, options.rounds, version_2(options.rows, options.rounds))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
