"""Public model packs whose address and SHA-256 are established: what `kith models pull NAME` can get.

An entry stands here only when a public file of its publisher, or of a project that checks what it downloads, states
this address with this hash; `evidence` says which. Kith hosts none of them: their terms are their publishers'.
"""

from dataclasses import dataclass

from kith.manifest import DetectorSpec, EmbedderSpec
from kith.packs import insightface


@dataclass(frozen=True, slots=True)
class File:
    """One download. size: bytes. evidence: where `url` is stated with `sha256`."""

    name: str
    url: str
    sha256: str
    size: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A pack to pull.

    embedder, dimension, detector: for a list. embedder_spec, detector_spec: how the files are used; None for an archive
    in a format that explains itself.
    """

    name: str
    licence: str
    source: str
    embedder: str
    dimension: int
    detector: str | None
    files: tuple[File, ...]
    embedder_spec: EmbedderSpec | None = None
    detector_spec: DetectorSpec | None = None


_RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"

_STATED_BY_INSIGHTFACE = (
    "deepinsight/insightface, server/backend/insightface_server/models/packages.py, "
    "at commit 575ffbc566f2dd491342b9a964def9cc69e03dbd"
)


def _insightface(name: str, sha256: str, size: int, about: str) -> Entry:
    archive = File(f"{name}.zip", f"{_RELEASE}/{name}.zip", sha256, size, _STATED_BY_INSIGHTFACE)
    return Entry(name, insightface.LICENCE, insightface.SOURCE, f"{about} (onnx)", 512, "scrfd", (archive,))


#: Until the hash of the file stands there.
_NO_HASH = "0" * 64

CATALOGUE = (
    Entry(
        "opencv-sface",
        licence="Apache-2.0 (SFace) and MIT (YuNet), as stated by the OpenCV Zoo",
        source="OpenCV Zoo, https://github.com/opencv/opencv_zoo: SFace (Zhong et al. 2021) and YuNet (Wu et al. 2023)",
        embedder="sface (onnx)",
        dimension=128,
        detector="yunet",
        files=(
            File(
                "face_recognition_sface_2021dec.onnx",
                f"{_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
                "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
                38_696_353,
                "the Git LFS pointer of this file in opencv/opencv_zoo at commit "
                "edef535367a4f8053b5bfb7580935c83772a9639; with this URL: mudler/LocalAI, "
                "backend/python/insightface/test.py at commit 405fec0bec97dac2b8bf9643b84aaaeea295e195",
            ),
            File(
                "face_detection_yunet_2026may.onnx",
                f"{_ZOO}/face_detection_yunet/face_detection_yunet_2026may.onnx",
                "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
                229_738,
                "described in opencv/opencv_zoo, pull request 310; with this URL: FACE_DET_URL and FACE_DET_SHA in the "
                "compose file of a public image search service (Lens); the same hash in ten other public files",
            ),
        ),
        # The blob of FaceRecognizerSF::feature in OpenCV's modules/objdetect/src/face_recognize.cpp.
        embedder_spec=EmbedderSpec(
            format="onnx",
            file="face_recognition_sface_2021dec.onnx",
            sha256=_NO_HASH,
            dimension=128,
            channels="RGB",
            scale=1.0,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        detector_spec=DetectorSpec(file="face_detection_yunet_2026may.onnx", sha256=_NO_HASH),
    ),
    _insightface(
        "buffalo_l",
        "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
        288_621_354,
        "ResNet-50, WebFace600K",
    ),
    _insightface(
        "buffalo_m",
        "d98264bd8f2dc75cbc2ddce2a14e636e02bb857b3051c234b737bf3b614edca9",
        275_951_529,
        "ResNet-50, WebFace600K",
    ),
    _insightface(
        "buffalo_sc",
        "57d31b56b6ffa911c8a73cfc1707c73cab76efe7f13b675a05223bf42de47c72",
        14_969_382,
        "MobileFaceNet, WebFace600K",
    ),
    _insightface(
        "antelopev2",
        "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
        360_662_982,
        "ResNet-100, Glint360K",
    ),
)


def entry_of(name: str) -> Entry | None:
    """The entry of that name."""
    return next((entry for entry in CATALOGUE if entry.name == name), None)
