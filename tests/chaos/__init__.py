"""Real processes, killed and cut off from each other under load; afterwards an auditor counts the money."""
