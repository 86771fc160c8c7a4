"""Fast passes for kith.similarity on torch: int8 on a CPU, half precision on a GPU. Answers are those of the reference."""
