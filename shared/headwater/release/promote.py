"""Promotion and rollback: the gate's verdict, then one atomic step in the registry."""

from importlib.metadata import entry_points

from headwater.bundles import Registry, Version
from headwater.errors import Conflict, HeadwaterError
from headwater.progress import Progress
from headwater.release.gate import Verdict, judge
from headwater.settings import Settings

_FOLLOWERS = "headwater.promotions"


def promote(
    registry: Registry,
    name: str,
    number: int | None = None,
    *,
    actor: str,
    new_labels: bool = False,
    threads: int = 0,
) -> tuple[Version, Verdict]:
    """Make a version (the newest, unless said) the production one if the gate lets it pass.

    Raises Conflict with the gate's reasons, or when another promotion came first.
    """
    candidate = registry.version(name, number) if number else registry.versions(registry.version(name).name)[0]
    current = registry.production(name)
    if current is not None and current.version == candidate.version:
        raise Conflict(f"{name}@{candidate.version} is in production already")
    verdict = judge(
        registry.open(candidate),
        registry.open(current) if current else None,
        registry.gate(name),
        new_labels=new_labels,
        threads=threads,
    )
    if not verdict.accepted:
        raise Conflict(f"the gate refuses {name}@{candidate.version}: {'; '.join(verdict.reasons)}")
    done = registry.set_production(
        name,
        candidate.version,
        expected=current.version if current else None,
        actor=actor,
        verdict=verdict.to_json(),
    )
    return done, verdict


def rollback(registry: Registry, name: str, *, actor: str) -> Version:
    """Put the version that was in production before back; once more, and the one before that.

    Raises Conflict when there is none.
    """
    current = registry.production(name)
    former = [v for v in registry.versions(name) if v.promoted and current and v.version != current.version]
    if current is None or not former:
        raise Conflict(f"{name} has no earlier production version to go back to")
    latest = max(former, key=lambda version: version.promoted or version.created)
    return registry.set_production(
        name, latest.version, expected=current.version, actor=actor, verdict=latest.verdict, back=True
    )


def follow(settings: Settings, name: str, progress: Progress) -> None:
    """Let the apps take up that another version of `name` is in production, where that is more than loading it.

    An app names `follow(settings, name, progress)` under the entry points `headwater.promotions`; the support bot
    embeds its documents with a new encoder there. Raises HeadwaterError naming what the app could not do.
    """
    for point in entry_points(group=_FOLLOWERS):
        try:
            point.load()(settings, name, progress)
        except HeadwaterError as error:
            raise HeadwaterError(
                f"{name} was changed, but {point.name} could not follow and goes on as before: {error}"
            ) from error
