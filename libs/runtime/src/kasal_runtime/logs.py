"""Logs are events with fields: JSON lines for machines, colours for people."""

import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def configure_logs(*, json: bool, level: str) -> None:
    """Once per process, before anything logs. Libraries' own loggers pass through at WARNING."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json:
        # Local variables may hold secrets: a traceback shows code and line alone.
        traces = ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(traces))
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    else:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    for noisy in ("aiormq", "aio_pika"):
        # They log a traceback for each lost connection; the bus says it once, in a line.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
