"""Quota Service: authorizes AI spend like a card payment."""
