"""Connections that are lent out, given back and used again.

Not psycopg_pool: it connects in threads of its own, and whoever waits learns `timeout` where the server said `wrong
password`. Here whoever needs a connection makes it, so every failure is told at once and by its own words.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import finalize

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from marketlab.errors import StoreUnavailable
from marketlab.stores.postgresql.address import Address
from marketlab.stores.postgresql.mistakes import mistake

__all__ = ["Connections"]

_KEPT = 4
_READY = sql.SQL(
    "set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 1; set search_path = {}, public"
)


class Connections:
    """To one address. Safe to use from several threads; each has its connection for itself while it has it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[psycopg.Connection] = deque()
        self._closed = False
        # Also where nobody closes the store.
        finalize(self, _close_all, self._idle)

    def connect(self) -> psycopg.Connection:
        """A new connection, whose owner closes it.

        Raises:
            StoreUnavailable: there is none to be had; StoreDenied where waiting does not help.
        """
        if self._closed:
            raise StoreUnavailable(f"{self._address.url} is closed; open it again.")
        try:
            return self._made()
        except psycopg.Error as error:
            # Not `from error`, whose trace holds the password.
            raise mistake(self._address.url, error) from None

    @contextmanager
    def lent(self) -> Iterator[psycopg.Connection]:
        """A connection for a while; one that is not as it was is not kept."""
        connection = self._taken() or self.connect()
        try:
            yield connection
        finally:
            usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
            if usable and not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
            else:
                _close(connection)

    def close(self) -> None:
        """No more connections; those that are lent are closed when they come back."""
        self._closed = True
        _close_all(self._idle)

    def _made(self) -> psycopg.Connection:
        connection = psycopg.connect(make_conninfo(**self._address.parameters), autocommit=True, prepare_threshold=None)
        try:
            connection.execute(_READY.format(sql.Identifier(self._address.schema)))
        except psycopg.Error:
            _close(connection)
            raise
        return connection

    def _taken(self) -> psycopg.Connection | None:
        while not self._closed:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if _is_alive(connection):
                return connection
            _close(connection)
        return None


def _is_alive(connection: psycopg.Connection) -> bool:
    try:
        # A server that is gone has said so, or hung up: that is waiting to be read.
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return not connection.closed


def _close(connection: psycopg.Connection) -> None:
    with suppress(psycopg.Error):
        connection.close()


def _close_all(connections: deque[psycopg.Connection]) -> None:
    with suppress(IndexError):
        while True:
            _close(connections.pop())
