"""Which base model a run starts from: the one that was named, or one that reads the language of the texts."""

from collections import Counter
from collections.abc import Callable, Sequence

from headwater.language import detect_language
from headwater.models import BaseModel
from headwater.settings import Settings
from headwater.tuning.runs import find_base

AUTO = "auto"
_SAMPLE = 200
# Up to this share of texts may be in a language that the base does not read: names, quotations, misjudged short texts.
_FOREIGN = 0.2


def choose_base(
    reference: str, texts: Sequence[str], settings: Settings, say: Callable[[str], None]
) -> tuple[str, BaseModel]:
    """The base model with its reference: "auto" takes minilm for English texts and multilingual for all others.

    Says which was taken and why, and warns when a base that was named does not read the texts. Raises what
    `find_base` does.
    """
    languages = Counter(detect_language(text) for text in texts[:: max(1, len(texts) // _SAMPLE)])
    if reference == AUTO:
        english = _share(languages, without="en") <= _FOREIGN
        reference = "minilm" if english else "multilingual"
        main = "en" if english else _most_common(languages, without="en")
        share = languages[main] / languages.total()
        say(f"base model {reference}: {share:.0%} of the texts are in the language {main!r}; --base names another")
        return reference, find_base(reference, settings)
    base = find_base(reference, settings)
    if base.language != "multi" and _share(languages, without=base.language) > _FOREIGN:
        other = _most_common(languages, without=base.language)
        say(
            f"warning: {languages[other] / languages.total():.0%} of the texts are in the language {other!r}, and the "
            f"base model {reference} reads {base.language!r}; --base multilingual reads about 100 languages"
        )
    return reference, base


def _share(languages: Counter[str], without: str) -> float:
    return 1 - languages[without] / languages.total()


def _most_common(languages: Counter[str], without: str) -> str:
    return next(language for language, _ in languages.most_common() if language != without)
