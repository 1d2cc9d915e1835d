"""Language names as clients write them -> the codes that the models' languages are listed in; Qwen3-ASR's names."""

from __future__ import annotations

# ISO-639-1 where there is one. The names are those of Qwen3-ASR, the codes' ISO-639-3 forms and the language's own.
_NAMES = {
    "zh": ("chinese", "mandarin", "cmn", "zho", "chi", "中文", "汉语", "普通话"),
    "yue": ("cantonese", "粤语", "廣東話", "zh-hk", "zh-yue"),
    "en": ("english", "eng"),
    "ar": ("arabic", "ara"),
    "cs": ("czech", "ces"),
    "da": ("danish", "dan"),
    "nl": ("dutch", "nld"),
    "fil": ("filipino", "tagalog", "tl"),
    "fi": ("finnish", "fin"),
    "fr": ("french", "fra", "français"),
    "de": ("german", "deu", "deutsch"),
    "el": ("greek", "ell"),
    "hi": ("hindi", "hin"),
    "hu": ("hungarian", "hun"),
    "id": ("indonesian", "ind"),
    "it": ("italian", "ita"),
    "ja": ("japanese", "jpn", "日本語", "日语"),
    "ko": ("korean", "kor", "한국어", "韩语"),
    "mk": ("macedonian", "mkd"),
    "ms": ("malay", "msa"),
    "fa": ("persian", "fas", "farsi"),
    "pl": ("polish", "pol"),
    "pt": ("portuguese", "por"),
    "ro": ("romanian", "ron"),
    "ru": ("russian", "rus", "русский"),
    "es": ("spanish", "spa", "español"),
    "sv": ("swedish", "swe"),
    "th": ("thai", "tha"),
    "tr": ("turkish", "tur"),
    "vi": ("vietnamese", "vie"),
}
_CODES = {name: code for code, names in _NAMES.items() for name in (code, *names)}


def language_code(name: str) -> str | None:
    """``zh`` for ``zh``, ``zh-CN``, ``cmn-Hans-CN``, ``Chinese`` or ``中文``; None for what is no known language."""
    name = name.strip().lower().replace("_", "-")
    return _CODES.get(name) or _CODES.get(name.partition("-")[0])


def language_name(code: str) -> str:
    """What Qwen3-ASR calls the language of a code: ``Chinese`` for ``zh``. KeyError for no language known here."""
    return _NAMES[code][0].capitalize()
