"""Benchmarks: each figure beside the limit or peer measured in the same run. `make bench` runs them all."""
