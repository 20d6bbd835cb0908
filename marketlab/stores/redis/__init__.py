"""`redis://`: the queue between those who collect and those who store, and a cache of the latest prices; no history.

    redis://[user:password@]host[:6379][/db][?name=marketlab&limit=1000000&ca=file]

`rediss://` speaks TLS. What the URL leaves out comes from the settings `redis_host`, `redis_port`, `redis_password` and
`redis_db`, so `redis://` alone is enough.

- The stream `{name}:batches` with the consumer group `flush` holds batches that nobody has acknowledged; it is never
  trimmed. `{name}:rows` counts their rows, of which `limit` may wait, and `{name}:seen:{writer}` names the last batch of
  each writer, so that one which is handed over again is recognised.
- `tick:latest:{symbol}` is the newest trade as JSON, for 60 seconds.
- `crypto:orderbook:{symbol}` is a hash of the newest book snapshot: `data` (JSON) and `timestamp` (microseconds).

It is as safe as the server keeps it: with `appendonly yes` and `appendfsync always` nothing that was acknowledged is lost.
"""

from typing import TYPE_CHECKING

from marketlab.errors import MissingDependency

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.stores.redis.queue import RedisQueue

__all__ = ["QUEUE_SCHEMES", "from_url"]

QUEUE_SCHEMES = ("redis", "rediss")


def from_url(url: str, settings: "Settings | None" = None) -> "RedisQueue":
    """The queue at a URL; connects at its first use.

    Raises:
        UsageError: a part of the URL makes no sense.
        MissingDependency: redis-py is not installed.
    """
    from marketlab.stores.redis.address import Address

    address = Address.of(url, settings)
    try:
        from marketlab.stores.redis.queue import RedisQueue
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise MissingDependency("redis", "redis", "A redis:// queue") from None
    return RedisQueue(address)
