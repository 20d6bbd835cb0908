"""`postgresql://`: history in PostgreSQL, in hypertables where TimescaleDB is there.

Every table of `marketlab.tables` has its own name and columns; instead of exchange and symbol it has `market_id`, which
the table `markets` explains:

    select time, price, size from trades join markets on id = market_id where symbol = 'BTCUSDT' order by time
"""

from typing import TYPE_CHECKING

from marketlab.errors import MissingDependency

try:
    from marketlab.stores.postgresql.address import Address
    from marketlab.stores.postgresql.store import PostgresStore
except ImportError as error:
    # Not only where it is absent: psycopg raises it too where it finds no libpq, which the same extra brings.
    if (error.name or "psycopg").partition(".")[0] != "psycopg":
        raise
    raise MissingDependency("psycopg", "postgres", "A postgresql:// store") from error

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["SCHEMES", "PostgresStore", "from_url"]

SCHEMES = ("postgresql", "postgres")  # libpq understands both


def from_url(url: str, settings: "Settings | None" = None) -> PostgresStore:
    """`postgresql://user:password@host:5432/database?schema=public`, and libpq's own settings, such as `sslmode`.

    What the URL leaves out comes from the settings (POSTGRES_HOST, POSTGRES_USER, ...), then from libpq's own places
    (PGHOST, ~/.pgpass, ...). Connects to nothing yet.

    Raises:
        UsageError: the URL is none, or names a setting that does not exist.
    """
    return PostgresStore(Address.of(url, settings))
