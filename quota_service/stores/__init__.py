"""The stores: Valkey decides, PostgreSQL remembers."""
