"""Which language a question is in."""

import pytest

from marketlab.errors import UsageError
from marketlab.stores.influxdb.languages import language_of

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
