"""The `quota` command: thin over the API, for people and, with `--json`, for scripts."""
