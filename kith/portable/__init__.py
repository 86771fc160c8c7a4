"""A gallery as one file, to back it up or to move it: `export_gallery`, `Archive`, `restore`.

A zip, nothing in it compressed, that other programs can read:

    subjects.jsonl                  {"number", "id", "name", "created_ms", "external_id"?, "metadata"?} a line
    templates.jsonl                 {"id", "subject" (number), "image", "quality", "enrolled_ms"} a line
    vectors/00000.safetensors …     `vectors`, float32 (rows, d), of the templates in the order of the lines;
                                    sealed: `rows`, uint8 (rows, width), see kith.sealing
    images/ab/abcdef…               the pictures, where they were asked for
    manifest.json                   what it is, see kith.portable.manifest; with the SHA-256 of every other part

It is the gallery at one sequence number, however much was written to it meanwhile. Names stand in it in the clear, and
the vectors as well unless they are sealed.
"""

from kith.portable.manifest import Manifest
from kith.portable.reading import Archive
from kith.portable.restoring import Restored, restore
from kith.portable.writing import export_gallery

__all__ = ["Archive", "Manifest", "Restored", "export_gallery", "restore"]
