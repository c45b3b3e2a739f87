"""The server of the page: one static page, the six photographs, and captions; nothing is kept on disk.

Photographs are captioned one after the other in one thread; requests wait their turn. At most ``WAITING`` bodies are in
memory at once, and others are not read from the network before there is room.
"""

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.predict.answerer import Answerer
from captioning.predict.captioner import Captioner
from captioning.web.answers import BYTES, Wish, answer, reads_clips, reply, too_large

log = logging.getLogger(__name__)

WAITING = 16  # photographs in memory
PATIENCE = 60.0  # seconds for a photograph to arrive, which has a place in memory meanwhile
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PHOTOGRAPHS = sorted(
    entry.name for entry in (files("captioning") / "photographs").iterdir() if entry.name.endswith(".jpg")
)


def make_app(
    captioners: Mapping[str, Captioner], answerers: Mapping[str, Answerer] | None = None, host: str = "127.0.0.1"
) -> FastAPI:
    """The server's application.

    Args:
        captioners: the captioners by the names that the page shows.
        answerers: the models of answers to questions by the names that the page shows.
        host: the address that is listened on; on a loopback address other host names are refused, so that no site
            elsewhere can reach the page by a name of its own.
    """
    answerers = answerers or {}
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="captions")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.room = asyncio.Semaphore(WAITING)
        yield
        worker.shutdown(wait=True, cancel_futures=True)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    page = (files("captioning") / "web" / "page.html").read_text("utf-8")
    policy = policy_of(page)

    @app.get("/")
    async def front() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, **HEADERS})

    @app.get("/captioners")
    async def told() -> JSONResponse:
        return JSONResponse(
            {
                "captioners": list(captioners),
                "answerers": list(answerers),
                "clips": any(map(reads_clips, captioners.values())),
                "photographs": PHOTOGRAPHS,
                "bytes": BYTES,
            },
            headers=HEADERS,
        )

    @app.get("/photographs/{name}")
    async def photograph(name: str) -> Response:
        if name not in PHOTOGRAPHS:
            return _refusal("There is no such photograph.", 404)
        content = (files("captioning") / "photographs" / name).read_bytes()
        return Response(content, media_type="image/jpeg", headers=HEADERS)

    @app.post("/caption")
    async def caption(request: Request) -> Response:
        name = request.query_params.get("captioner", next(iter(captioners), ""))
        if name not in captioners:
            return _refusal("There is no such captioner.", 404)

        def prepared(query: Mapping[str, str]) -> Work:
            return partial(_guarded, answer, captioners[name], wish=Wish.of(query))

        return await _answered(request, worker, prepared)

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        name = request.query_params.get("answerer", next(iter(answerers), ""))
        if name not in answerers:
            return _refusal("There is no such model of answers.", 404)

        def prepared(query: Mapping[str, str]) -> Work:
            return partial(_guarded, reply, answerers[name], question=query.get("question", ""))

        return await _answered(request, worker, prepared)

    return app


Work = Callable[[bytes], dict[str, Any]]  # from a photograph's bytes to what is answered

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


async def _answered(
    request: Request, worker: ThreadPoolExecutor, prepared: Callable[[Mapping[str, str]], Work]
) -> Response:
    """The answer to a request with a photograph's bytes, when its turn has come."""
    # a form of another site can't send this type without asking first
    if request.headers.get("content-type") != "application/octet-stream":
        return _refusal("Send the picture's bytes as application/octet-stream.", 415)
    try:
        work = prepared(request.query_params)
        async with request.app.state.room:
            async with asyncio.timeout(PATIENCE):
                content = await _body(request)
            found = await asyncio.get_running_loop().run_in_executor(worker, work, content)
        return JSONResponse(found, headers=HEADERS)
    except (ClientDisconnect, TimeoutError):
        return _refusal("The picture did not arrive.", 400)
    except CaptioningError as error:
        # a picture that can't be read is an answer, and no failure of the server that a browser would report
        return _refusal(printable(str(error)), 413 if str(error) == too_large() else 200)


def policy_of(page: str) -> str:
    """The page's content security policy: its own script and style, pictures of its own, and no other host."""
    script, style = (_hash(re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(texts: list[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


async def _body(request: Request) -> bytes:
    """The bytes of a request, read no further than the limit.

    Raises:
        CaptioningError: there are too many.
    """
    if int(request.headers.get("content-length") or 0) > BYTES:
        raise CaptioningError(too_large())
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BYTES:
            raise CaptioningError(too_large())
    return bytes(content)


def _guarded(action: Callable[..., dict[str, Any]], model: Any, content: bytes, **settings: Any) -> dict[str, Any]:
    """What an action says of a photograph; an unforeseen error is logged here and a sentence there."""
    try:
        return action(model, content, **settings)
    except CaptioningError:
        raise
    except Exception as error:
        log.exception("a picture was not answered")
        raise CaptioningError(f"The picture could not be answered ({type(error).__name__}).") from error


def _refusal(sentence: str, status: int) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status, headers=HEADERS)
