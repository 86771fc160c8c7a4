"""The cutoff of a gallery that has none of its own: the installation's, else its model pack's.

A cosine means something else to every model. So the installation's is that of its main model (`model.pack`), and a
gallery held under another one, while it moves or after, has the default of its own.
"""

from kith.checkpoints import model_id_of
from kith.packs.at_hand import main_manifest, other_manifests
from kith.settings import Settings

#: Where no pack of the model is on this machine. Half of what equal pictures score: high for every model we know of.
UNKNOWN = 0.5


def default_cutoff(settings: Settings, model_id: str) -> float:
    """What `settings` let a match need in a gallery of model `model_id`. Reads manifests, no weights.

    Of a model whose pack is not on this machine it is UNKNOWN; where not even the main pack is, `decisions.cutoff` is
    taken to be of the model asked about.
    """
    said = settings.decisions.cutoff
    main = main_manifest(settings)
    if said is not None and (main is None or model_id_of(main) == model_id):
        return said
    for each in (main, *other_manifests(settings)):
        if each is not None and model_id_of(each) == model_id:
            return each.default_cutoff
    return UNKNOWN
