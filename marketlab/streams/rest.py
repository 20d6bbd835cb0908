"""REST as the exchange wants it: inside its weight budget, waiting when told to, over another host when one is down."""

import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from marketlab.clock import Clock, SystemClock
from marketlab.errors import ConnectionLost, MarketlabError, MissingDependency, RateLimited, Rejected, UsageError
from marketlab.exchanges.contract import Exchange, Request
from marketlab.records import Kline, Origin, Record
from marketlab.streams.backoff import Backoff
from marketlab.streams.pacing import Priority, WeightBudget, retry_after
from marketlab.streams.transport import ORIGIN_HEADER, is_local, origin_of

__all__ = ["FOREIGN", "Answer", "Rest", "translate"]

_log = logging.getLogger("marketlab.streams")
_PAGE = 1000
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"


class Answer(msgspec.Struct, frozen=True):
    """The body of a successful answer, when it came (microseconds) and where it came from."""

    request: Request
    body: bytes
    at: int
    origin: Origin


class Rest:
    """One exchange's REST side. Safe to use from many tasks of one loop.

    Args:
        exchange: What to talk to.
        url: Base URL to use instead of the exchange's own hosts.
        clock: For waiting and for `Answer.at`.
        backoff: Delays between attempts.
        timeout_s: How long one attempt may take.
        proxy: Proxy URL; without it the usual environment variables decide.
        tap: Called with every answer.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        url: str | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        timeout_s: float = 10.0,
        proxy: str | None = None,
        tap: Callable[[Answer], None] | None = None,
    ) -> None:
        self._exchange = exchange
        self._hosts = [url.rstrip("/")] if url else [host.rstrip("/") for host in exchange.endpoint.rest]
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff()
        self._tap = tap
        self.budget = WeightBudget(exchange.limits.weight_per_minute, self._clock)
        self.requests = 0
        self.failures = 0
        trusting = not all(map(is_local, self._hosts))  # an environment's proxy cannot reach loopback
        self._client = _client(headers=exchange.headers(), timeout=timeout_s, proxy=proxy, trust_env=trusting)

    @property
    def url(self) -> str:
        """The host that is asked first just now."""
        return self._hosts[0]

    async def fetch(self, request: Request, priority: Priority = Priority.CHARTS, *, attempts: int = 4) -> Answer:
        """The answer to a request, asked up to `attempts` times. Cancelling is safe.

        Waits for the weight budget, and as long as the exchange says when it says "slow down".

        Raises:
            ConnectionLost: no host answered.
            Rejected: the exchange refused; asking again would change nothing.
            RateLimited: still limited after the last attempt, or banned (never asked again by itself).
        """
        delays = self._backoff.delays(random.random)
        for left in range(attempts - 1, -1, -1):
            await self.budget.spend(request.weight, priority)
            try:
                return await self._ask(request)
            except RateLimited as error:
                self.failures += 1
                self.budget.pause(error.retry_after, banned=error.banned)
                _log.warning("%s (%s)", error, request.path)
                if error.banned or not left:
                    raise
            except ConnectionLost as error:
                self.failures += 1
                self._hosts.append(self._hosts.pop(0))
                if not left:
                    raise
                _log.info("%s Trying again.", error)
                await self._clock.sleep(next(delays))
        raise AssertionError("attempts is at least 1")

    async def records(
        self, request: Request, priority: Priority = Priority.CHARTS, *, origin: Origin | None = None, attempts: int = 4
    ) -> list[Record]:
        """The records in the answer to a request; `origin` is what theirs is unless the exchange says another."""
        answer = await self.fetch(request, priority, attempts=attempts)
        told = origin if origin is not None and answer.origin == "rest" else answer.origin
        return self._exchange.answer(request, answer.body, answer.at, told)

    async def klines(self, symbol: str, interval: str, limit: int) -> list[Kline]:
        """The newest `limit` klines, by opening time; the last one may still be open.

        Raises:
            ExchangeError: the exchange did not answer, or refused.
        """
        klines: list[Kline] = []
        end: int | None = None
        while len(klines) < limit:
            wanted = min(limit - len(klines), _PAGE)
            records = await self.records(self._exchange.klines_request(symbol, interval, None, end, wanted))
            page = [record for record in records if isinstance(record, Kline)]
            klines = page + klines
            if len(page) < wanted:
                break
            end = page[0].open_time
        return klines

    async def _ask(self, request: Request) -> Answer:
        url = self._hosts[0] + request.path
        self.requests += 1
        try:
            response = await self._client.get(url, params=dict(request.params))
        except FOREIGN as error:
            raise translate(error, url) from error
        used = response.headers.get(_USED_WEIGHT, "")
        if used.isdigit():
            self.budget.report(int(used))
        if response.status_code >= 400:
            raise self._refusal(response, url)
        origin = origin_of(response.headers.get(ORIGIN_HEADER)) or "rest"
        answer = Answer(request, response.content, self._clock.now(), origin)
        if self._tap is not None:
            self._tap(answer)
        return answer

    def _refusal(self, response: httpx.Response, url: str) -> MarketlabError:
        status = response.status_code
        if status in (418, 429):
            return RateLimited(retry_after(response.headers.get("Retry-After"), 60.0), banned=status == 418)
        if status >= 500:
            return ConnectionLost(f"{url} answers HTTP {status}; it may be under maintenance.")
        code, words = self._exchange.refusal(status, response.content)
        return Rejected(code, words)

    async def close(self) -> None:
        """Let go of the connections; twice is once."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _unreachable(error: Exception, url: str) -> MarketlabError:
    return ConnectionLost(
        f"Cannot reach {url}: {str(error) or type(error).__name__}; check the address and the network."
    )


def _silent(_: Exception, url: str) -> MarketlabError:
    return ConnectionLost(f"{url} does not answer; check the address and the network.")


def _wrong_address(error: Exception, url: str) -> MarketlabError:
    return UsageError(f"{url} is not an address to ask: {str(error).rstrip('.')}.")


_TABLE: tuple[tuple[type[Exception], Callable[[Exception, str], MarketlabError]], ...] = (
    (httpx.InvalidURL, _wrong_address),
    (httpx.UnsupportedProtocol, _wrong_address),
    (httpx.TimeoutException, _silent),
    (httpx.HTTPError, _unreachable),
    (OSError, _unreachable),
)
FOREIGN = tuple(kind for kind, _ in _TABLE)
"""What the library and the network raise; anything else is a mistake of ours and is not translated."""


def translate(error: Exception, url: str) -> MarketlabError:
    """A third-party exception in our words; the first line of the table that fits decides."""
    return next(say(error, url) for kind, say in _TABLE if isinstance(error, kind))


def _client(**options: Any) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(follow_redirects=True, **options)
    except ImportError as error:
        raise MissingDependency("socksio", "proxy", "A SOCKS5 proxy") from error
    except ValueError as error:
        raise UsageError(f"The proxy's address cannot be used: {error}.") from error
