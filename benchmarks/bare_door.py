"""What the HTTP door is compared with: an application that takes the same bodies and does nothing with them.

python -m benchmarks.bare_door --fd N
"""

import argparse
import socket
import sys
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse


def create_app() -> FastAPI:
    """One address, by the same framework."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/jobs", status_code=202)
    async def submit(request: Request) -> JSONResponse:
        return JSONResponse({"bytes": len(await request.body())}, 202)

    return app


def main(argv: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    listening = socket.socket(fileno=parser.parse_args(argv).fd)
    uvicorn.Server(uvicorn.Config(create_app(), log_config=None, access_log=False)).run([listening])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
