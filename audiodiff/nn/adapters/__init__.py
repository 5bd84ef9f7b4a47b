"""Adapters: small learned changes of the weights of a frozen network."""
