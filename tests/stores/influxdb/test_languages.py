"""Which language a question is in."""

import pytest

from marketlab.errors import UsageError
from marketlab.stores.influxdb.languages import language_of, require_reading

FLUX = [
    'from(bucket: "lab") |> range(start: -1h)',
    'import "array"\narray.from(rows: [{v: 1}])',
    "buckets()",
    '// the last hour\n  from (bucket: "lab")',
    'data = from(bucket: "lab")\ndata |> last()',
    "option now = () => 2024-01-01T00:00:00Z",
    "array.from(rows: [])",
]
OTHERS = [
    "SELECT * FROM trade",
    "select price from crypto_price",
    "SHOW MEASUREMENTS",
    "-- the last\nSELECT last(price) FROM trade",
    "EXPLAIN SELECT 1",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "  DELETE FROM trade",
]


@pytest.mark.parametrize("text", FLUX)
def test_flux_is_flux_on_every_server(text: str) -> None:
    assert {language_of(text, version) for version in (1, 2, 3)} == {"flux"}


@pytest.mark.parametrize("text", OTHERS)
def test_the_rest_is_what_the_server_prefers(text: str) -> None:
    assert [language_of(text, version) for version in (1, 2, 3)] == ["influxql", "influxql", "sql"]
    assert language_of(text, 3, "influxql") == "influxql"


@pytest.mark.parametrize(("text", "named"), [("", None), ("  ", None), (None, None), ("SELECT 1", "cypher")])
def test_what_is_no_question_is_told(text: str, named: str | None) -> None:
    with pytest.raises(UsageError):
        language_of(text, 2, named)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("drop measurement trade", "influxql"),
        ("SELECT * FROM trade; DELETE FROM trade", "influxql"),
        ("SELECT * INTO copy FROM trade", "influxql"),
        ("-- all\n/* of it */ DROP DATABASE lab", "influxql"),
        ("CREATE DATABASE x", "influxql"),
        ('from(bucket: "lab") |> range(start: 0) |> to(bucket: "other")', "flux"),
        ('from(bucket: "lab") |> experimental.to(bucket: "other")', "flux"),
    ],
)
def test_what_would_change_something_is_no_question(text: str, language: str) -> None:
    with pytest.raises(UsageError, match="only reads"):
        require_reading(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("select price from trade where symbol = 'drop; delete into x'", "influxql"),
        ('SELECT "into" FROM "a;b"; SHOW DATABASES;', "influxql"),
        ("-- drop it\nSELECT 1 FROM trade", "influxql"),
        ("EXPLAIN SELECT price FROM trade", "influxql"),
        ('from(bucket: "to(x)") |> range(start: 0) // to(me)', "flux"),
        ('import "date" from(bucket: "lab") |> toFloat()', "flux"),
        ("SELECT * FROM trade", "sql"),
    ],
)
def test_what_only_reads_is_asked(text: str, language: str) -> None:
    require_reading(text, language)
