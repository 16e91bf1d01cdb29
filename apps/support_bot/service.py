"""What the API and the commands share: the sites' indexes and answerers, opened once a process."""

import json
import secrets
import shutil
import threading
from dataclasses import asdict
from typing import Any

from headwater.errors import NotFound, Unavailable
from headwater.retrieval import Index
from headwater.serving import Encoders
from headwater.storage import jobs
from headwater.web import Context
from support_bot.answering import Answerer
from support_bot.conversations import Conversations
from support_bot.site import DATABASE, ENCODERS, INTENTS, open_answerer, open_encoders, open_index, site_folder

_SITES = 100


class Service:
    """Opened by the gateway's warm-up; before that every call says that the bot is still starting."""

    def __init__(self, context: Context) -> None:
        self.settings = context.settings
        self._context = context
        self._lock = threading.Lock()
        self._encoders: dict[str, Encoders] | None = None
        self._sites: dict[str, tuple[Index, Answerer]] = {}

    def open(self) -> None:
        """Load the encoders and the default site, and answer one question in each language to warm everything."""
        self._context.engine(DATABASE)
        self._encoders = open_encoders(self._context.registry, self.settings.threads)
        answerer = self.answerer(None)
        # The first is long enough for the language identifier, which is loaded for such texts alone.
        for question in ("How long does standard delivery take?", "配送需要多久？"):
            answerer.answer(question)

    def index(self, site: str | None) -> Index:
        return self._site(site)[0]

    def answerer(self, site: str | None) -> Answerer:
        return self._site(site)[1]

    def conversations(self, site: str | None) -> Conversations:
        return Conversations(self._context.engine(DATABASE), site or self.settings.site)

    def _site(self, site: str | None) -> tuple[Index, Answerer]:
        name = site or self.settings.site
        found = self._sites.get(name)
        if found is not None:
            return found
        if self._encoders is None:
            raise Unavailable("the support bot is still loading its models; try again in a moment")
        if len(self._sites) >= _SITES:
            raise NotFound(f"there is no site {name!r}")
        with self._lock:
            if name not in self._sites:
                folder = site_folder(self.settings, name)
                index = open_index(self._context.engine(DATABASE), name, self._encoders, folder)
                if name != self.settings.site and not index.documents(limit=1):
                    raise NotFound(f"there is no site {name!r}; leave site out for {self.settings.site!r}")
                answerer = open_answerer(self.settings, self._context.registry, index)
                self._sites[name] = (index, answerer)
        return self._sites[name]

    def cards(self) -> list[dict[str, Any]]:
        """Every model of the bot: version in production, metrics, labels, sizes; and its candidates."""
        registry = self._context.registry
        cards = []
        for use, name in [*(("encoder", n) for n in ENCODERS.values()), *(("intents", n) for n in INTENTS.values())]:
            version = registry.production(name)
            versions = [asdict(v) for v in registry.versions(name)]
            card: dict[str, Any] = {"name": name, "use": use, "production": None, "versions": versions}
            if version is not None:
                bundle = registry.open(version)
                card["production"] = version.version
                card["manifest"] = json.loads(bundle.manifest.to_text())
                card["bytes"] = sum(bundle.file(f).stat().st_size for f in bundle.manifest.files)
                report = bundle.path / "report.json"
                card["report"] = json.loads(report.read_text()) if report.is_file() else None
            cards.append(card)
        return cards

    def submit_tuning(self, examples: dict[str, Any], actor: str) -> dict[str, Any]:
        """Keep the examples under the state folder and queue the tuning job."""
        folder = self.settings.folder("runs") / f"{examples['name']}-{secrets.token_hex(3)}"
        source = folder / "examples.csv"
        try:
            folder.mkdir()
            source.write_text(examples["csv"], encoding="utf-8")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unavailable(f"{folder} cannot be written: {error.strerror}; make room and try again") from error
        argv = ["support", "tune-intents", "--examples", str(source), "--language", examples["language"]]
        argv += ["--method", examples["method"], "--epochs", str(examples["epochs"]), "--output", str(folder / "run")]
        job = jobs.submit(self._context.engine("house"), "support", argv, actor=actor, heavy=True)
        return {"job": job.id, "folder": str(folder.relative_to(self.settings.home.absolute()))}
