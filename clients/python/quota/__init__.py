"""Calls Quota Service. The messages and stubs of the API are in `quota.v1`."""
