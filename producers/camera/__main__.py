"""python -m producers.camera: see producers.camera.run."""

import sys

#: What the extra `camera` brings. A module of ours that is missing is a bug, and stays one.
_BROUGHT = frozenset({"av", "cv2", "onnxruntime"})


def _main() -> int:
    try:
        from producers.camera.run import main  # noqa: PLC0415 (what it loads may not be installed)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _BROUGHT:
            raise
        sys.stderr.write(f"producers.camera: cameras need {missing.name}: pip install 'kith[camera]'\n")
        return 78
    return main()


if __name__ == "__main__":
    sys.exit(_main())
