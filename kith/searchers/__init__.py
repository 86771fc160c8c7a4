"""Searching with torch: int8 on a CPU, half precision on a GPU. The answers are those of kith.similarity.search."""
