"""PostgreSQL: configuration, catalogue and ledger. The Protocols are in `application/ports.py`."""
