"""The languages that model providers speak over HTTP: what a call asks for, what its answer used, how a
refusal is told. Standard library, a JSON parser and a tokenizer: no gRPC, no stores.
"""
