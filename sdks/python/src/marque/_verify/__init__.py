"""Verification of tokens: strict JOSE, cached keys, claims. Imports `cryptography`."""
