"""The support bot over HTTP, under /support/v1."""

import html
import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from headwater.errors import HeadwaterError
from headwater.retrieval import Delete, Upsert, split_sentences
from headwater.storage.users import User
from headwater.web import AllowedJob, Context, require
from headwater.web.auth import check_role, optional_user
from headwater.web.streaming import event_stream
from support_bot import privacy
from support_bot.domain import Answer
from support_bot.ingestion import read_url
from support_bot.reader import Reader
from support_bot.service import Service

Viewer = Annotated[User, Depends(require("viewer"))]
Editor = Annotated[User, Depends(require("editor"))]
Admin = Annotated[User, Depends(require("admin"))]
# PostgreSQL keeps no NUL in a text; whoever sends one is not naming anything that exists.
_VISIBLE = r"^[^\x00-\x1f\x7f]*$"
Site = Annotated[str | None, Query(max_length=64, pattern=_VISIBLE)]
# Databases count with 64 bits, and SQLite refuses a longer pattern.
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]
Turn = Annotated[int, PathParameter(ge=0, le=2**31 - 1)]
Words = Annotated[str, Query(max_length=500)]


class Question(BaseModel):
    """A customer's message; `debug` adds why the bot answered so, and needs a viewer's token."""

    message: str
    conversation_id: str | None = Field(None, max_length=64, pattern=_VISIBLE)
    language: str | None = Field(None, pattern="^[a-z]{2}$")
    site: str | None = Field(None, max_length=64, pattern=_VISIBLE)
    subject: str | None = Field(
        None, max_length=200, pattern=_VISIBLE, description="the customer's id in your own system"
    )
    debug: bool = False


class Feedback(BaseModel):
    value: int
    reason: str = Field("", max_length=2000, pattern=r"^[^\x00]*$")


class Page(BaseModel):
    """An address to import."""

    url: str = Field(max_length=2000)


class Examples(BaseModel):
    """Labelled texts to tune the intent model on."""

    name: str = Field(pattern="^[a-z0-9-]{1,40}$")
    csv: str = Field(max_length=5_000_000)
    language: str = Field("en", pattern="^(en|zh)$")
    method: str = Field("lora", pattern="^(lora|full|head)$")
    epochs: int = Field(5, ge=1, le=50)


def build_router(context: Context) -> APIRouter:
    """The app's routes; models are loaded by a warm-up, so that the gateway answers at once."""
    service = Service(context)
    context.add_warm_up("support bot", service.open)
    context.allowed_jobs.append(AllowedJob(("support", "tune-intents"), "editor", heavy=True))
    router = APIRouter(prefix="/support/v1", tags=["support"])
    _chat_routes(router, service)
    _document_routes(router, service)
    _conversation_routes(router, service, context)
    _model_routes(router, service)
    return router


def _chat_routes(router: APIRouter, service: Service) -> None:
    @router.post("/chat")
    def chat(
        question: Question, request: Request, user: Annotated[User | None, Depends(optional_user)] = None
    ) -> Response:
        """Answer a message; with `Accept: text/event-stream` as events sentence, citation, done, error."""
        if question.debug:
            if user is None:
                raise HeadwaterError("debug needs a token: Authorization: Bearer <token>")
            check_role(user, "viewer")
        if "text/event-stream" in request.headers.get("accept", ""):
            return event_stream(_events(service, question))
        from fastapi.responses import JSONResponse

        return JSONResponse(_reply(service, question))


def _reply(service: Service, question: Question) -> dict[str, Any]:
    answerer = service.answerer(question.site)
    message = answerer.check(question.message)
    conversations = service.conversations(question.site)
    offered = conversations.offered(question.conversation_id) if question.conversation_id else None
    answer = answerer.answer(message, question.language, offered)
    conversation_id, number = conversations.add_turn(question.conversation_id, message, answer, question.subject)
    return {
        "conversation_id": conversation_id,
        "turn": number,
        **wire(answer),
        **(debug(answer) if question.debug else {}),
    }


def _events(service: Service, question: Question) -> Iterator[tuple[str, Any]]:
    reply = _reply(service, question)
    for start, end in split_sentences(reply["answer"]):
        yield "sentence", {"text": reply["answer"][start:end]}
    for citation in reply["citations"]:
        yield "citation", citation
    yield "done", reply


def wire(answer: Answer) -> dict[str, Any]:
    """The wire contract of an answer."""
    return {
        "path": answer.path,
        "answer": answer.text,
        "confidence": round(answer.confidence, 4),
        "language": answer.language,
        "citations": [asdict(citation) for citation in answer.citations],
        "timings": answer.timings,
    }


def debug(answer: Answer) -> dict[str, Any]:
    """Why the bot answered so."""
    return {
        "understanding": asdict(answer.understanding) if answer.understanding else None,
        "passages": [asdict(passage) for passage in answer.passages],
        "explanation": answer.explanation,
    }


def _document_routes(router: APIRouter, service: Service) -> None:
    @router.get("/documents")
    def documents(
        user: Viewer,
        search: Words = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
        offset: Offset = 0,
        site: Site = None,
    ) -> list[dict[str, Any]]:
        """Titles, newest change first."""
        return service.index(site).documents(search, limit, offset)

    @router.post("/documents", status_code=201)
    def upload(
        user: Editor,
        file: Annotated[UploadFile, File()],
        document_id: Annotated[str, Form(max_length=200)] = "",
        title: Annotated[str, Form(max_length=300)] = "",
        url: Annotated[str, Form(max_length=2000)] = "",
        site: Annotated[str | None, Form(max_length=64, pattern=_VISIBLE)] = None,
    ) -> dict[str, Any]:
        """Add a file, or replace the document with the same id (without one: the file's name)."""
        index = service.index(site)
        data = file.file.read(service.settings.max_document_bytes + 1)
        name = (file.filename or "document").replace("\\", "/").rsplit("/", 1)[-1]
        with Reader(service.settings) as reader:
            document = reader.read(name, data, document_id=document_id, title=title, url=url)
        generation = index.apply([Upsert(document)], actor=user.name)
        return {"id": document.id, "title": document.title, "characters": len(document.text), "generation": generation}

    @router.post("/pages", status_code=201)
    def page(page: Page, user: Editor, site: Site = None) -> dict[str, Any]:
        """Import one web page; private addresses are refused."""
        index = service.index(site)
        with Reader(service.settings) as reader:
            document = read_url(page.url, service.settings, reader)
        generation = index.apply([Upsert(document)], actor=user.name)
        return {"id": document.id, "title": document.title, "characters": len(document.text), "generation": generation}

    @router.get("/documents/{document_id:path}/view", response_class=HTMLResponse)
    def view(
        document_id: str,
        start: Annotated[int, Query(ge=0)] = 0,
        end: Annotated[int, Query(ge=0)] = 0,
        site: Site = None,
    ) -> HTMLResponse:
        """The document as a page, with the cited part marked and scrolled to."""
        return HTMLResponse(
            _page(service.index(site).document(document_id), start, end),
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"},
        )

    @router.get("/documents/{document_id:path}")
    def document(document_id: str, user: Viewer, site: Site = None) -> dict[str, Any]:
        return asdict(service.index(site).document(document_id))

    @router.delete("/documents/{document_id:path}")
    def delete(document_id: str, user: Editor, site: Site = None) -> dict[str, int]:
        """Remove a document; the next question no longer finds it."""
        return {"generation": service.index(site).apply([Delete(document_id)], actor=user.name)}


_STYLE = """
body{font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;
color:#1d2733}
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.1rem;margin-top:1.8rem}p{white-space:pre-line;margin:.4rem 0}
mark{background:#ffe59a;padding:.05em .1em;border-radius:.2em;scroll-margin-top:35vh}
.meta{color:#5b6774;font-size:.85rem}
@media(prefers-color-scheme:dark){body{background:#12181f;color:#e4e9ee}mark{background:#7a5c00;color:#fff}
.meta{color:#9aa7b4}}
"""


def _page(document: Any, start: int, end: int) -> str:
    """Escaped text with headings and the marked part; the address's #cited scrolls to it."""
    heads = [(section.start, section.title) for section in document.sections]
    bounds = sorted({0, len(document.text), *(place for place, _ in heads)})
    titles = dict(heads)
    body = []
    for first, last in itertools.pairwise(bounds):
        title = titles.get(first)
        if title is not None:
            body.append(f"<h2>{_marked(title, 0, 0)}</h2>")
            first += len(title) if document.text.startswith(title, first) else 0
        text = document.text[first:last]
        lead = len(text) - len(text.lstrip())
        body.append(f"<p>{_marked(text.strip(), start - first - lead, end - first - lead)}</p>")
    source = f'<p class="meta">{html.escape(document.url)}</p>' if document.url else ""
    title = html.escape(document.title or document.id)
    return (
        f'<!doctype html><html lang="{html.escape(document.language or "en")}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1>{source}{''.join(body)}</html>"
    )


def _marked(text: str, start: int, end: int) -> str:
    start, end = max(0, start), min(len(text), end)
    if start >= end:
        return html.escape(text)
    middle = f'<mark id="cited">{html.escape(text[start:end])}</mark>'
    return html.escape(text[:start]) + middle + html.escape(text[end:])


def _conversation_routes(router: APIRouter, service: Service, context: Context) -> None:
    @router.get("/conversations")
    def search(
        user: Viewer,
        text: Words = "",
        path: Words = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Offset = 0,
        site: Site = None,
    ) -> list[dict[str, Any]]:
        """The latest turns, newest first."""
        return service.conversations(site).search(text, path, limit, offset)

    @router.get("/conversations/counts")
    def counts(user: Viewer, site: Site = None) -> dict[str, int]:
        """Turns by path."""
        return service.conversations(site).counts()

    @router.get("/conversations/{conversation_id}")
    def conversation(conversation_id: str, user: Viewer, site: Site = None) -> dict[str, Any]:
        return service.conversations(site).get(conversation_id)

    @router.post("/conversations/{conversation_id}/turns/{number}/feedback", status_code=204)
    def feedback(conversation_id: str, number: Turn, given: Feedback, site: Site = None) -> None:
        """A thumb for a turn; whoever knows the conversation's id took part in it."""
        service.conversations(site).rate(conversation_id, number, given.value, given.reason)

    @router.get("/subjects/{subject}")
    def export(subject: str, user: Admin, site: Site = None) -> list[dict[str, Any]]:
        """Everything that is kept of a customer."""
        return privacy.export(context.engine("support"), site or context.settings.site, subject)

    @router.delete("/subjects/{subject}")
    def erase(subject: str, user: Admin, site: Site = None) -> dict[str, int]:
        """Forget a customer."""
        return {"erased": privacy.erase(context.engine("support"), site or context.settings.site, subject)}


def _model_routes(router: APIRouter, service: Service) -> None:
    @router.get("/models")
    def models(user: Viewer) -> list[dict[str, Any]]:
        """The models in use, with their cards."""
        return service.cards()

    @router.post("/tuning", status_code=202)
    def tune(examples: Examples, user: Editor) -> dict[str, Any]:
        """Tune the intent model on examples of your own, as a job; it becomes a candidate that can be promoted."""
        return service.submit_tuning(examples.model_dump(), user.name)
