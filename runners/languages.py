"""Language names as clients write them -> the codes that the models' languages are listed in; Qwen3-ASR's names."""

from __future__ import annotations

import re

# ISO-639-1 where there is one. The names are those of Qwen3-ASR, the codes' ISO-639-3 forms and the language's own.
_NAMES = {
    "zh": ("chinese", "mandarin", "cmn", "zho", "chi", "中文", "汉语", "普通话"),
    "yue": ("cantonese", "粤语", "粵語", "广东话", "廣東話", "广州话", "zh-hk", "zh-yue"),
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

# Qwen3-ASR's 22 dialects, in its package's order and words: (code of the language that it has a name for, other names).
# Each is also known by its own name and the Chinese ones followed by 话, 语 and the like: see `_plain`.
_DIALECTS = {
    "Anhui": ("zh", "安徽"),
    "Dongbei": ("zh", "东北", "東北", "northeastern", "liaoning", "辽宁"),
    "Fujian": ("zh", "福建"),
    "Gansu": ("zh", "甘肃", "甘肅", "兰州"),
    "Guizhou": ("zh", "贵州", "貴州", "贵阳"),
    "Hebei": ("zh", "河北"),
    "Henan": ("zh", "河南"),
    "Hubei": ("zh", "湖北", "武汉"),
    "Hunan": ("zh", "湖南", "长沙", "湘", "xiang", "hsn"),
    "Jiangxi": ("zh", "江西", "南昌", "赣", "gan"),
    "Ningxia": ("zh", "宁夏", "寧夏"),
    "Shandong": ("zh", "山东", "山東"),
    "Shaanxi": ("zh", "陕西", "陝西", "西安"),
    "Shanxi": ("zh", "山西", "晋", "jin", "cjy"),
    "Sichuan": ("zh", "四川", "sichuanese", "成都", "川", "重庆"),
    "Tianjin": ("zh", "天津"),
    "Yunnan": ("zh", "云南", "雲南", "昆明"),
    "Zhejiang": ("zh", "浙江", "杭州"),
    "Cantonese (Hong Kong accent)": ("yue", "香港", "香港粤", "粤语香港", "hong kong cantonese"),
    "Cantonese (Guangdong accent)": ("yue", "广东粤", "粤语广东", "guangdong cantonese", "guangdong"),
    "Wu language": ("zh", "吴", "吳", "wu", "wuu", "上海", "shanghainese", "苏州"),
    "Minnan language": ("zh", "闽南", "閩南", "minnan", "min-nan", "nan", "hokkien", "台", "臺", "taiwanese", "潮汕"),
}
DIALECTS = tuple(_DIALECTS)
# What follows a dialect's name, and what stands before it.
_DIALECT_ENDING = re.compile(r"(?:话|話|语|語|腔|口音|方言|官话|[- ](?:dialect|language|accent|mandarin|chinese))+$")
_DIALECT_BEGINNING = re.compile(r"^(?:(?:zh|cmn|chinese)[- ](?:hans-)?(?:cn-)?|中文|汉语)")


def language_code(name: str) -> str | None:
    """Gives ``zh`` for ``zh``, ``zh-CN``, ``cmn-Hans-CN``, ``Chinese`` or ``中文``; None for what is no known language.

    A dialect is the language that Qwen3-ASR has a name for: Chinese, or Cantonese.
    """
    if dialect := dialect_of(name):
        return _DIALECTS[dialect][0]
    name = name.strip().lower().replace("_", "-")
    return _CODES.get(name) or _CODES.get(name.partition("-")[0])


def dialect_of(name: str) -> str | None:
    """``Sichuan`` for ``Sichuan``, ``zh-sichuan`` or ``四川话``; None for what is no dialect of DIALECTS."""
    plain = name.strip().lower().replace("_", "-")
    return None if plain in _CODES else _DIALECT_NAMES.get(plain) or _DIALECT_NAMES.get(_plain(plain))


def language_name(code: str) -> str:
    """Returns what Qwen3-ASR calls the language of a code: ``Chinese`` for ``zh``.

    Raises:
        KeyError: it is no language known here.
    """
    return _NAMES[code][0].capitalize()


def _plain(name: str) -> str:
    """A dialect's name alone, of ``zh-cn-sichuan``, ``chinese (sichuan)``, ``sichuan dialect`` or ``四川话``."""
    inner = _DIALECT_BEGINNING.sub("", re.sub(r"\s*[(（]", "-" if name.isascii() else "", name).rstrip(")） "))
    return _DIALECT_ENDING.sub("", inner.removesuffix("-cn"))


_DIALECT_NAMES = {
    other: dialect
    for dialect, (_, *others) in _DIALECTS.items()
    for other in (dialect.lower(), _plain(dialect.lower()), *others)
}
