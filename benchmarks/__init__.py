"""Measurements of Kith: `python -m benchmarks [NAME]`. Each prints a table and writes `benchmarks/out/NAME.json`."""
