"""Exact search: the nearest subjects of a probe, by cosine. The only package that knows that vectors are unit.

A pass over the gallery, as compressed and as fast as may be, says of every template how near it can be at most
(`passes`). What that bound cannot exclude is scored again from float32 (`ranking`), so that the answer is brute force's
and the same for a probe alone and for the same probe in any batch. numpy only; kith.searchers has the passes for torch.
"""

from kith.similarity.hits import Certificate, Found, Hit
from kith.similarity.plain import PlainSearcher, score_subject, search
from kith.similarity.searcher import Searcher, Without

__all__ = ["Certificate", "Found", "Hit", "PlainSearcher", "Searcher", "Without", "score_subject", "search"]
