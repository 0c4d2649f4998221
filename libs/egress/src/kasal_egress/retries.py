"""When, and after how long, a request that may be repeated is repeated."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    retry_if_result,
    wait_exponential_jitter,
)

from .errors import EgressInterruptedError, EgressTimeoutError, EgressUnreachableError, Phase

log = structlog.get_logger(__name__)

# 529 is Anthropic's "overloaded".
REPEATABLE_STATUSES = frozenset({429, 502, 503, 504, 529})


def retrying(
    host: str, *, tries: int, backoff: timedelta, retry_after_cap: timedelta, deadline: float
) -> AsyncRetrying:
    """Tries up to `tries` times, never beyond `deadline`; the last answer or error is the outcome.

    A Retry-After header replaces the back-off, up to `retry_after_cap`.
    """
    exponential = wait_exponential_jitter(
        initial=backoff.total_seconds(), max=retry_after_cap.total_seconds(), jitter=backoff.total_seconds() / 2
    )

    def wait(state: RetryCallState) -> float:
        asked = _retry_after(state)
        return exponential(state) if asked is None else min(asked, retry_after_cap).total_seconds()

    def stop(state: RetryCallState) -> bool:
        too_late = asyncio.get_running_loop().time() + state.upcoming_sleep >= deadline
        return too_late or state.attempt_number >= tries

    def forget(state: RetryCallState) -> None:
        answer = _answer(state)
        if answer is not None:
            answer.close()
        status = None if answer is None else answer.status
        log.info("egress_repeats", host=host, status=status, after_s=round(state.upcoming_sleep, 3))

    return AsyncRetrying(
        retry=retry_if_result(_asks_for_another_try) | retry_if_exception(_is_passing),
        stop=stop,
        wait=wait,
        before_sleep=forget,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )


def _asks_for_another_try(answer: aiohttp.ClientResponse) -> bool:
    return answer.status in REPEATABLE_STATUSES


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, EgressTimeoutError):
        return error.phase is Phase.CONNECT
    return isinstance(error, EgressUnreachableError | EgressInterruptedError)


def _answer(state: RetryCallState) -> aiohttp.ClientResponse | None:
    outcome = state.outcome
    if outcome is None or outcome.failed:
        return None
    answer: aiohttp.ClientResponse = outcome.result()
    return answer


def _retry_after(state: RetryCallState) -> timedelta | None:
    """RFC 9110 §10.2.3: seconds or a date; `None` where it is missing or cannot be read."""
    answer = _answer(state)
    text = answer.headers.get("Retry-After", "") if answer is not None else ""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 86_400))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(at.astimezone(UTC) - datetime.now(UTC), timedelta())
