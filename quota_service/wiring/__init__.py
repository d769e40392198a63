"""What is made of what, and given to whom: pools → stores → application → edge."""
