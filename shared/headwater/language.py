"""The language of a text: by script where the script decides, by py3langid among Latin-script languages."""

import functools
import re
from typing import Any

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")
_LETTER = re.compile(r"[^\W\d_]")
# Below this length the Latin-script identifier guesses ("ok", "refund"), so English is assumed.
_SHORTEST_IDENTIFIABLE = 24


def detect_language(text: str) -> str:
    """ISO 639-1 code of `text`; "en" for texts too short to tell and for texts without letters.

    >>> detect_language("退款需要多长时间？")
    'zh'
    """
    letters = len(_LETTER.findall(text))
    if letters == 0:
        return "en"
    if len(_KANA.findall(text)) * 10 >= letters:
        return "ja"
    if len(_HANGUL.findall(text)) * 4 >= letters:
        return "ko"
    # One Han character carries about as much as three Latin letters ("我的iPhone case到了吗").
    if len(_HAN.findall(text)) * 4 >= letters:
        return "zh"
    if letters < _SHORTEST_IDENTIFIABLE and text.isascii():
        return "en"
    language, probability = _identifier().classify(text)
    return str(language) if probability > 0.8 else "en"


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # the model is numpy data, no pickle

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
