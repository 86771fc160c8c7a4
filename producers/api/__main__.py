"""python -m producers.api: see producers.api.run."""

import sys

#: What the extra `api` brings. A module of ours that is missing is a bug, and stays one.
_BROUGHT = frozenset({"fastapi", "starlette", "uvicorn", "httptools", "uvloop", "jinja2", "multipart", "websockets"})


def _main() -> int:
    try:
        from producers.api.run import main  # noqa: PLC0415 (what it loads may not be installed)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _BROUGHT:
            raise
        sys.stderr.write(f"producers.api: the HTTP door needs {missing.name}: pip install 'kith[api]'\n")
        return 78
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
