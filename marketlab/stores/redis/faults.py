"""What can go wrong with a Redis server, each as one sentence; the only place that knows redis-py's errors.

The first row that fits decides: the kind of error, and words that it holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis

from marketlab.errors import StoreDenied, StoreUnavailable

__all__ = ["told"]

_REPLICA = "{url} is a read-only replica: give the address of the primary server."
_CLUSTER = "{url} is part of a Redis cluster: a queue needs a server of its own."
_TOO_OLD = "{url} is no Redis of version 6.2 or later: {words}."
_WRONG_USER = "{url} refuses the user or the password: check the URL, or the setting redis_password."

_FAULTS: tuple[tuple[type[Exception], str, type[StoreUnavailable], str], ...] = (
    (
        redis.AuthenticationError,
        "without any password configured",
        StoreDenied,
        "{url} wants no password: leave it out.",
    ),
    (redis.AuthenticationError, "", StoreDenied, _WRONG_USER),
    (redis.AuthenticationWrongNumberOfArgsError, "", StoreDenied, _WRONG_USER),
    (redis.NoPermissionError, "", StoreDenied, "{url} does not let this user do what a queue needs: {words}."),
    (redis.ResponseError, "DB index", StoreDenied, "{url} has no database of that number: {words}."),
    (redis.ReadOnlyError, "", StoreDenied, _REPLICA),
    (redis.ResponseError, "READONLY", StoreDenied, _REPLICA),
    (redis.BusyLoadingError, "", StoreUnavailable, "{url} is still loading its data."),
    (
        redis.OutOfMemoryError,
        "",
        StoreUnavailable,
        "{url} has reached its maxmemory: flush what waits in it or raise it.",
    ),
    (redis.ResponseError, "MISCONF", StoreUnavailable, "{url} cannot save to its disk and takes nothing: see its log."),
    (redis.ResponseError, "NOREPLICAS", StoreUnavailable, "{url} has too few replicas and takes nothing."),
    (redis.ResponseError, "BUSY ", StoreUnavailable, "{url} is busy with somebody's script."),
    (redis.ResponseError, "WRONGTYPE", StoreDenied, "Something else has the keys of {url}: choose another ?name=."),
    (redis.ResponseError, "nknown", StoreDenied, _TOO_OLD),
    (redis.ClusterError, "", StoreDenied, _CLUSTER),
    (redis.AskError, "", StoreDenied, _CLUSTER),
    (redis.ClusterCrossSlotError, "", StoreDenied, _CLUSTER),
    (redis.InvalidResponse, "", StoreDenied, "What answers at {url} is no Redis server."),
    (redis.TimeoutError, "", StoreUnavailable, "{url} does not answer: {words}."),
    (redis.ConnectionError, "SSL", StoreDenied, "TLS with {url} fails: {words}."),
    (redis.ConnectionError, "", StoreUnavailable, "Cannot reach {url}: {words}."),
    (redis.RedisError, "", StoreUnavailable, "{url} refuses: {words}."),
)


@contextmanager
def told(url: str) -> Iterator[None]:
    """Inside, what redis-py raises becomes StoreUnavailable or StoreDenied, in one sentence."""
    try:
        yield
    except redis.RedisError as error:
        # Lua appends where in which script it happened.
        words = str(error).partition(" script: ")[0].rstrip(". ")
        for kind, part, wanted, sentence in _FAULTS:
            if isinstance(error, kind) and part in words:
                raise wanted(sentence.format(url=url, words=words)) from error
