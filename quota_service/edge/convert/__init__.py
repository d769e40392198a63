"""Between messages of the contract and values of the domain; one module a topic, nothing but data."""
