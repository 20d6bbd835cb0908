"""A proxy that cannot be used is one sentence."""

import pytest

from marketlab.errors import UsageError
from marketlab.exchanges import find
from marketlab.streams.rest import Rest


@pytest.mark.parametrize("proxy", ["foo://127.0.0.1:1", "nowhere"])
def test_an_address_that_is_none(proxy: str) -> None:
    with pytest.raises(UsageError, match="The proxy's address cannot be used"):
        Rest(find("binance"), proxy=proxy)
