"""Logs: one JSON object a line on stderr, or readable lines where a person watches."""

from __future__ import annotations

import logging
import sys

import structlog

log = structlog.get_logger("quota_service")


def configure(level: str) -> None:
    """Sets up logging for the process."""
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    # Its warnings are stack texts about connections; whoever needs one is told when there is none.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class StoreLog:
    """Tells of work between the stores that failed, or that found something it should not have.

    `dead_letters`: how many entries of this process have become dead letters.
    """

    def __init__(self) -> None:
        self.dead_letters = 0

    def batch_written(self, entries: int, conflicts: int) -> None:
        if conflicts:
            log.error("ledger keys used with other content", conflicts=conflicts, entries=entries)

    def valkey_changed(self, available: bool, error: BaseException | None) -> None:
        if available:
            log.info("Valkey answers again")
        else:
            log.error("Valkey does not answer", reason=str(error))

    def recovered(self, organization: str, epoch: int) -> None:
        log.warning("Valkey's keys were made anew from the ledger", organization=organization, epoch=epoch)

    def entry_refused(self, organization: str, key: str, error: str, tries: int) -> None:
        log.warning(
            "the ledger refused an entry", organization=organization, key=key, error=error, tries=tries
        )

    def dead_letter(self, organization: str, key: str, error: str) -> None:
        self.dead_letters += 1
        log.error(
            "an entry became a dead letter: remove the cause, then replay it",
            organization=organization,
            key=key,
            error=error,
            of_this_process=self.dead_letters,
        )

    def work_failed(self, work: str, error: Exception) -> None:
        log.warning(
            "work failed, will be tried again", work=work, error=type(error).__name__, reason=str(error)
        )
