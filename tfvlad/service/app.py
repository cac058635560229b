"""The application: which address is answered by what."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tfvlad.encoding.interface import AnyEncoder
from tfvlad.errors import ConfigError, ServingError, TfvladError
from tfvlad.service.access import Access
from tfvlad.service.admission import ClientGoneError, Places, Slots, Workers
from tfvlad.service.answers import answer_search
from tfvlad.service.bodies import Bodies, client_of
from tfvlad.service.encoder_queue import EncoderQueue
from tfvlad.service.explanations import explain
from tfvlad.service.indexed_images import IndexedImages, Picture
from tfvlad.service.monitoring import CONTENT_TYPE_LATEST, ROUTE, Counted, Monitoring
from tfvlad.service.named_indexes import Encoders, NamedIndex, OpenIndex
from tfvlad.service.openapi import document
from tfvlad.service.page import PageFiles
from tfvlad.service.refusals import LATER, RefusalError, refusal_of
from tfvlad.service.search_request import LARGEST_ID, SearchRequest, from_query, image_fields, read_request
from tfvlad.service.settings import ServiceSettings
from tfvlad.service.warming import warm_up

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

_PICTURE_THREADS = 4
_TICK = 1.0  # seconds between looks at whether an index was replaced by one of another encoder
_log = logging.getLogger(__name__)


class Service:
    """Everything that answers requests. `app` is the ASGI application, and belongs to one event loop.

    Attributes:
      app: the application.
      failure: why an encoder could not be loaded at the start; None while all is well.
    """

    def __init__(
        self,
        indexes: Mapping[str, str],
        settings: ServiceSettings | None = None,
        encoder: Callable[[], AnyEncoder] | None = None,
        only_local: bool = True,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        """Opens the indexes; their encoders are loaded when the application has started.

        Args:
          indexes: name -> folder; the first is the one that is searched where a request names none.
          settings: what clients are allowed.
          encoder: gives the encoder of all indexes, such as a served one; None takes the one in each index's folder.
          only_local: see `tfvlad.service.access.Access`.
          on_failure: called when an encoder cannot be loaded at the start.

        Raises:
          ArtifactError: a folder is no index.
          ConfigError: there is no index.
        """
        if not indexes:
            raise ConfigError("there must be an index to serve")
        self.settings = settings = settings or ServiceSettings()
        self.failure: Exception | None = None
        self._on_failure = on_failure
        self._monitoring = Monitoring()
        self._slots = Slots(os.cpu_count() or 1)
        self._places = Places(settings.places)
        self._bodies = Bodies(settings.max_body, settings.max_bodies, settings.body_seconds)
        self._images = IndexedImages()
        self._searching = Workers(settings.threads, "search", self._slots)
        self._showing = Workers(_PICTURE_THREADS, "pictures")
        self._encoders = Encoders(
            encoder, lambda loaded: EncoderQueue(loaded, self._slots.lent, self._monitoring.batch)
        )
        self._indexes = {
            name: NamedIndex(name, path, self._encoders, settings.max_pixels, settings.search)
            for name, path in indexes.items()
        }
        self._first = next(iter(self._indexes))
        self._files = PageFiles()
        self._monitoring.watch(
            "tfvlad_places_taken", "Requests that are worked on or wait.", lambda: self._places.taken
        )
        self._monitoring.watch(
            "tfvlad_encoder_waiting_images",
            "Images that wait to be encoded.",
            lambda: sum(map(len, self._encoders.known())),
        )
        self._monitoring.watch(
            "tfvlad_ready", "Whether every index can be searched with pictures.", lambda: float(self._is_ready())
        )
        self.app = self._application(only_local)

    def _application(self, only_local: bool) -> Starlette:
        settings = self.settings
        routes = [
            self._route("/", self._page, "GET"),
            self._route("/static/{name}", self._static_file, "GET"),
            self._route("/healthz", self._health, "GET"),
            self._route("/readyz", self._ready, "GET"),
            self._route("/metrics", self._metrics, "GET"),
            self._route("/v1/openapi.json", self._openapi, "GET"),
            self._route("/v1/indexes", self._list_indexes, "GET"),
            self._route("/v1/search", self._search, "POST"),
            self._route("/v1/explain", self._explain, "GET", "POST"),
            self._route("/v1/images/{id:int}", self._image, "GET"),
            self._route("/v1/images/{id:int}/thumbnail", self._thumbnail, "GET"),
        ]
        middleware = [Middleware(Access, settings.token, settings.cors_origins, only_local)]
        if settings.cors_origins:
            middleware.insert(
                0,
                Middleware(
                    CORSMiddleware,
                    allow_origins=settings.cors_origins,
                    allow_methods=["GET", "POST"],
                    allow_headers=["Authorization", "Content-Type"],
                    expose_headers=["Retry-After"],
                ),
            )
        middleware.insert(0, Middleware(Counted, self._monitoring))
        app = Starlette(
            routes=routes,
            middleware=middleware,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http_error, Exception: _failed},
        )
        app.router.redirect_slashes = False
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        keeper = asyncio.create_task(self._keep_ready())
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Ends the threads and closes the indexes; what is being worked on is finished."""
        self._encoders.close()
        self._searching.close()
        self._showing.close()
        for index in self._indexes.values():
            index.close()

    async def _keep_ready(self) -> None:
        """Loads encoders: of all indexes at the start, and of an index that is put in the place of another one."""
        started = False
        pause = _TICK
        while True:
            try:
                for index in self._indexes.values():
                    if not index.is_ready:
                        await asyncio.to_thread(index.load_encoder, warm_up)
                in_use = {index.fingerprint for index in self._indexes.values()}
                if None not in in_use:
                    await asyncio.to_thread(self._encoders.keep, {name for name in in_use if name is not None})
                started, pause = True, _TICK
            except Exception as error:
                _log.warning("the encoder of an index cannot be loaded: %s", error)
                # A model server may come up later than this service; nothing else mends itself.
                if not started and not isinstance(error, ServingError):
                    self.failure = error
                    if self._on_failure is not None:
                        self._on_failure()
                    return
                pause = min(2 * pause, 60.0)
            await asyncio.sleep(pause)

    def _is_ready(self) -> bool:
        return all(index.is_ready for index in self._indexes.values())

    # What the addresses answer.

    async def _page(self, request: Request) -> Response:
        return self._files.answer("index.html")

    async def _static_file(self, request: Request) -> Response:
        return self._files.answer(request.path_params["name"])

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        if not await asyncio.to_thread(self._is_ready):
            raise RefusalError(503, "an encoder is still being loaded", LATER)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(self._monitoring.text), media_type=CONTENT_TYPE_LATEST)

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(document(), headers={"Cache-Control": "no-cache"})

    async def _list_indexes(self, request: Request) -> Response:
        def describe(opened: OpenIndex) -> dict[str, Any]:
            ready = opened.encoder is not None
            return {
                "images": len(opened.index),
                "generation": opened.generation,
                "verifies": opened.index.local_features > 0,
                "ready": ready,
            }

        async def one(index: NamedIndex) -> dict[str, Any]:
            try:
                return {"name": index.name, **await self._run(self._showing, request, index, describe, None)}
            except RefusalError:  # it is not there at the moment
                return {"name": index.name, "images": None, "generation": None, "verifies": None, "ready": False}

        return JSONResponse({"indexes": [await one(index) for index in self._indexes.values()]})

    async def _search(self, request: Request) -> Response:
        async with self._asked(request) as (index, asked):
            name = index.name
            answer = await self._work(request, index, lambda opened: answer_search(opened, name, asked), asked)
            return JSONResponse(answer)

    async def _explain(self, request: Request) -> Response:
        as_picture = "image/png" in request.headers.get("accept", "")
        async with self._asked(request) as (index, asked):
            name = index.name
            answer = await self._work(request, index, lambda opened: explain(opened, name, asked, as_picture), asked)
            return Response(answer, media_type="image/png") if isinstance(answer, bytes) else JSONResponse(answer)

    async def _image(self, request: Request) -> Response:
        return await self._picture(request, lambda opened, file, side: self._images.original(opened, file))

    async def _thumbnail(self, request: Request) -> Response:
        return await self._picture(request, self._images.thumbnail)

    async def _picture(self, request: Request, give: Callable[[OpenIndex, int, int], Picture]) -> Response:
        name, generation, side = image_fields(request.query_params)
        index, file = self._named(name), request.path_params["id"]
        if not 0 < file <= LARGEST_ID:
            raise RefusalError(404, "there is no image with this id")
        picture = await self._run(self._showing, request, index, lambda opened: give(opened, file, side), generation)
        # An id means the same file as long as it is in the index, but not always the same bytes.
        headers = {"Cache-Control": "private, max-age=300", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(picture.data, media_type=picture.media_type, headers=headers)

    # How a request is worked on.

    @contextlib.asynccontextmanager
    async def _asked(self, request: Request) -> AsyncIterator[tuple[NamedIndex, SearchRequest]]:
        """Reads what is asked for, and keeps its memory until the answer is made."""
        if request.method in ("GET", "HEAD"):
            fields = request.query_params
            if len(fields) != len(fields.multi_items()):
                raise RefusalError(400, "a field is there twice")
            asked = from_query(fields)
            yield self._named(asked.index), asked
            return
        async with self._bodies.received(request) as body:
            asked = await read_request(body, request.headers.get("content-type", ""))
            del body
            yield self._named(asked.index), asked

    async def _work(
        self, request: Request, index: NamedIndex, work: Callable[[OpenIndex], T], asked: SearchRequest
    ) -> T:
        with self._places.take(client_of(request)):
            return await self._run(self._searching, request, index, work, asked.generation)

    async def _run(
        self,
        workers: Workers,
        request: Request,
        index: NamedIndex,
        work: Callable[[OpenIndex], T],
        generation: str | None,
    ) -> T:
        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        return await workers.run(functools.partial(index.use, work, generation), self.settings.answer_seconds, gone())

    def _named(self, name: str | None) -> NamedIndex:
        index = self._indexes.get(self._first if name is None else name)
        if index is None:
            raise RefusalError(404, "there is no index of this name; GET /v1/indexes lists those that there are")
        return index

    @staticmethod
    def _route(path: str, handler: Handler, *methods: str) -> Route:
        async def answered(request: Request) -> Response:
            request.scope[ROUTE] = path
            try:
                return await handler(request)
            except RefusalError as refusal:
                return refusal.response()
            except ClientGoneError:
                return Response(status_code=499)
            except TfvladError as error:
                return refusal_of(error).response()

        return Route(path, answered, methods=list(methods))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "there is nothing at this address", 405: "this address is asked by another method"}
    reason = reasons.get(error.status_code, error.detail)
    return JSONResponse({"error": reason}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """The answer to what should not happen; the server logs the traceback."""
    return JSONResponse({"error": "the request failed; the service's log says why"}, 500)
