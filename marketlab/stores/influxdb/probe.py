"""Which version of InfluxDB answers at an address; nothing secret is sent to find out."""

import re

from marketlab.errors import StoreDenied
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client

__all__ = ["version_of"]

_NAMED = re.compile(r"v?([123])\.")
_SECONDS = 10.0


def version_of(address: Address) -> int:
    """1, 2 or 3.

    Raises:
        StoreUnavailable: nobody answers.
        StoreDenied: who answers is no InfluxDB.
    """
    client = Client(address, {})
    try:
        answer = client.ask("GET", "/ping", seconds=_SECONDS)
    finally:
        client.close()
    found = _NAMED.match(answer.headers.get("x-influxdb-version", ""))
    if found:
        return int(found.group(1))
    # 3.x alone tells nothing to those who bring no token.
    if answer.status_code == 401 and "cluster-uuid" in answer.headers:
        return 3
    client.require_good(answer)
    raise StoreDenied(
        f"{address.netloc} does not answer as an InfluxDB does; mend host and port, or name version= in the URL."
    )
