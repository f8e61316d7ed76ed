"""Measurements beside other queues. Not part of the package: run by `make bench`."""
