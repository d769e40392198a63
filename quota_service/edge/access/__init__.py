"""Who may call what: callers, their credentials, roles, and the organizations that requests are about."""
