"""`influxdb://`: a store on an InfluxDB server of version 1, 2 or 3.

Each version has a module that speaks its words (`dialect` is what they have in common); the others are the same for all:
where the server is (`address`), what a row looks like in it (`layout`, `lines`), and the store itself (`store`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.dialect import Dialect
from marketlab.stores.influxdb.probe import version_of
from marketlab.stores.influxdb.store import InfluxStore
from marketlab.stores.influxdb.version1 import Version1
from marketlab.stores.influxdb.version2 import Version2

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["SCHEMES", "InfluxStore", "connect", "from_url"]

SCHEMES = ("influxdb",)


def from_url(url: str, settings: "Settings | None" = None) -> InfluxStore:
    """The store of a database: `influxdb://[user:password@|:token@]host[:port]/database?org=&version=&tls=&create=&prefix=`.

    What the URL leaves out comes from the settings `influxdb_host`, `influxdb_token`, `influxdb_database`, `influxdb_org`.
    Nobody is asked before the first question.
    """
    return InfluxStore(Address.of(url, settings), connect)


def connect(address: Address) -> Dialect:
    """The dialect of the server at an address, which is asked where the address does not say.

    Raises:
        StoreUnavailable: nobody answers.
        StoreDenied: who answers is no InfluxDB.
    """
    version = address.version or version_of(address)
    if version == 1:
        return Version1(address)
    if version == 2:
        return Version2(address)
    # Only now, since it takes packages that the others do without.
    dialect: Dialect = import_module("marketlab.stores.influxdb.version3").Version3(address)
    return dialect
