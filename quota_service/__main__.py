"""Entry point of the `quota` command, and of `python -m quota_service`."""

from __future__ import annotations

from quota_service.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
