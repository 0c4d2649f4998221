"""The answer to an outbound call, as a stream with caps."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from .errors import (
    EgressError,
    EgressInterruptedError,
    EgressTimeoutError,
    EgressTooLargeError,
    EgressUnreachableError,
    EgressUntrustedError,
    Phase,
)

# They describe the transfer that ended here; the body given to the caller is decoded.
TRANSFER_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class EgressResponse:
    """`status` and `headers` are there; the body follows, decoded, and is read once.

    `headers` leaves out those that describe the transfer, such as Content-Length and Content-Encoding.
    Reading raises EgressTooLargeError, EgressTimeoutError or EgressInterruptedError.
    """

    def __init__(self, response: aiohttp.ClientResponse, *, host: str, deadline: float, max_bytes: int) -> None:
        self._response = response
        self._host = host
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._seen = 0
        kept = (item for item in response.headers.items() if item[0].lower() not in TRANSFER_HEADERS)
        self.headers = CIMultiDictProxy(CIMultiDict(kept))
        self.status = response.status

    async def iter_bytes(self) -> AsyncGenerator[bytes]:
        """The chunks as they arrive."""
        while chunk := await self._next_chunk():
            yield chunk

    async def read(self) -> bytes:
        """The whole body, or what `iter_bytes` has left of it."""
        return b"".join([chunk async for chunk in self.iter_bytes()])

    async def _next_chunk(self) -> bytes:
        with typed_errors(self._host):
            async with asyncio.timeout_at(self._deadline):
                chunk = await self._response.content.readany()
        self._seen += len(chunk)
        if self._seen > self._max_bytes:
            raise EgressTooLargeError(self._host, self._max_bytes)
        return chunk


@contextmanager
def typed_errors(host: str) -> Iterator[None]:
    """Turns what aiohttp raises into errors of ours.

    The cause is cut off: the texts and reprs of aiohttp's errors hold URLs with queries and request headers.
    """
    try:
        yield
    except EgressError:
        raise
    except aiohttp.ConnectionTimeoutError:
        raise EgressTimeoutError(host, Phase.CONNECT) from None
    except aiohttp.ServerTimeoutError:
        raise EgressTimeoutError(host, Phase.IDLE) from None
    except TimeoutError:
        raise EgressTimeoutError(host, Phase.TOTAL) from None
    except aiohttp.ClientConnectorCertificateError:
        raise EgressUntrustedError(host) from None
    except aiohttp.ClientConnectorDNSError:
        raise EgressUnreachableError(host, "a name has no address") from None
    except aiohttp.ClientConnectorError as error:
        raise EgressUnreachableError(host, type(error.os_error).__name__) from None
    except aiohttp.ClientError:
        raise EgressInterruptedError(host) from None
    except OSError:
        raise EgressUnreachableError(host, "a name has no address") from None
