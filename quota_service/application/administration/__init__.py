"""Use cases of those who set the rules: organizations, the directory, budgets and the catalogue."""
