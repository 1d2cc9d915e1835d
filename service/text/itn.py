"""Chinese inverse text normalisation: spoken numerals in recognised words as readers expect them written.

Two tables do the work. ``_FIXED`` lists words that hold a numeral character and are not numbers
(weekdays, 一起, 第一, idioms); they are masked first. ``_RULES`` are then tried in order at every
numeral that is left; each captured group of a matching rule is one number to rewrite, and a rule
without a group says that the text it matches stays. Only numeral characters are replaced: 年, 点,
元 and the like are context. A lone digit stays a character unless a rule gives it a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from service.domain import Word, join_words

# Numerals. L is a digit as it is said before 百, 千, 万; DIGIT one that is read out on its own.
D = "[一二三四五六七八九]"
L = "[一二两三四五六七八九]"
DIGIT = "[零〇幺一二三四五六七八九]"
NUMERAL = "零〇幺一二两三四五六七八九十百千万亿"
LONE = "[零一二两三四五六七八九]"

MEASURE = (
    "个名位张台次件条只本份杯瓶斤公页场辆套双把首部栋箱袋盒碗盘项届期章节集题间家"
    "楼层种倍级句颗人户岁天周年月日号分秒小点晚平"
)
UNIT = (
    "公里|千米|厘米|毫米|分米|米|英里|海里|英寸|公斤|千克|毫克|克|斤|吨|毫升|升|平方|平米|立方|公顷|亩|"
    "摄氏度|度|小时|分钟|毫秒|秒|元|美元|欧元|英镑|块钱|毛钱|角钱|分钱|岁|千瓦|瓦|伏|兆|赫兹|像素"
)
# 两百五, 三千六, 一万二: a last digit without its unit counts tenths of the unit before it; 两百一天 is no such case.
TAIL = f"(?:[二三四五六七八九]|一(?![{MEASURE}]))(?![零〇幺二三四五六七八九十百千万亿]|一(?![{MEASURE}]))"
TENS = f"{D}?十(?:{D}(?![百千]))?"
HUNDREDS = f"{L}百(?:零{D}|{TENS}|{TAIL})?"
THOUSANDS = f"{L}千(?:零(?:{TENS}|{D})|{HUNDREDS}|{TAIL})?"
BELOW_10K = f"(?:{THOUSANDS}|{HUNDREDS}|{TENS})"
TEN_THOUSANDS = f"(?:{BELOW_10K}|{L})万(?:零?{BELOW_10K}|零{D}|{TAIL})?"
HUNDRED_MILLIONS = f"(?:{BELOW_10K}|{L})万?亿(?:零?(?:{TEN_THOUSANDS}|{BELOW_10K})|零{D}|{TAIL})?"
CARDINAL = f"(?:{HUNDRED_MILLIONS}|{TEN_THOUSANDS}|{BELOW_10K})"
WHOLE = f"(?:{CARDINAL}|{DIGIT}+|两)"
DECIMAL = f"{WHOLE}(?:点{DIGIT}+)+"
NUMBER = f"负?(?:{DECIMAL}|{WHOLE})"
ENDS = f"(?!{DIGIT}|[十百千万亿几])"
# Neighbouring digits are an estimate (七八个, 三四十, 十七八岁).
ESTIMATE = "(?:一二|一两|两三|二三|三四|三五|四五|五六|六七|七八|八九)"

HOUR = f"(?:二十[一二三四]?|十{D}?|{LONE})"
MINUTES = f"[二三四五]?十{D}?|零?{D}(?=分(?![钟米贝之]))"
PART_OF_DAY = "上午|下午|中午|早上|晚上|凌晨|清晨|傍晚|半夜|夜里|深夜|今晚|明晚|昨晚|今早|明早"

# Where these numerals are written; in Japanese they are part of other words too.
LANGUAGES = frozenset({"zh", "yue", ""})

_WEEKDAY_MASK, _FIXED_MASK = "Φ", "Ω"
_IN_PART_OF_DAY = f"(?:(?<={PART_OF_DAY})|(?<={_WEEKDAY_MASK}))"
_ON_A_DAY = "(?:(?<=今天|明天|后天|昨天|周末|现在)|(?<=现在是))"

_FIXED = re.compile(
    "|".join(
        (
            # 四周 and 每周四十个小时 name no weekday.
            f"(?P<weekday>(?:星期|礼拜|(?<![{NUMERAL}几每])周|每周(?!{D}十{D}?(?![点一二三四五六七八九])))[一二三四五六日天])",
            f"第{D}(?![{NUMERAL}])",
            f"十几二十|[{NUMERAL}]+几[十百千万亿]*|(?:几|(?<![人次总分件])数)[十百千万亿]+|{D}十好几",
            "(?<![十百千万亿零])一(?:起|样|些|定|直|共|般|切|旦|致|律|向|下|会|边|半|同|家|个(?!百分点|亿))",
            "(?<![十百千万亿零下温高低升降到约])一度",
            f"(?<![{NUMERAL}])万一|统一|唯一|一点[都也儿]|一点半点|一点一滴|两点一线|梅开二度",
            f"{D}元(?=[一二]次|论|化|素|复始|里|桥)",
            f"(?:以下|[有这那讲提哪])(?:{L}点(?![半整钟零{NUMERAL}])|{L}点(?=十分[^\\W钟]))",
            f"{L}点(?=建议|要求|意见|原因|想法|内容|说明|看法|不同|理由|希望|体会|好处|问题|共识|经验|启示|感受|补充)",
            "[肩背担胜自抱辜欺正]负",
            f"[正腊冬]月{TENS}|(?:二月二|三月三|九月九)(?![日号十])|双十[一二]|十一(?=长假|假期|黄金周|国庆)",
            "一五一十|八九不离十|以一当十|闻一知十|十万火急|十万八千里|十万个为什么|十天半个?月|十月怀胎",
            "十年(?:如一日|寒窗|树木)|三十而立|四十不惑|五十步笑百步|十八般武艺|二十四节气|三十六计|七十二变",
            "十二生肖|三百六十行|一千零一夜|十三陵|十三香|大年三十|三六九等|三点水|两点之间(?=的?距离|直线)",
            f"(?<![{NUMERAL}是码号话])(?:七七八八|三三五五)(?!{DIGIT})",
        )
    )
)

_DIGIT_VALUES = {"零": 0, "〇": 0, "幺": 1, "两": 2} | {char: i for i, char in enumerate("一二三四五六七八九", 1)}
_UNIT_VALUES = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}


def _value(cardinal: str) -> int:
    """The value of a well-formed cardinal, with or without a colloquial tail."""
    total = section = digit = 0
    unit = 10
    for char in cardinal:
        if char in _DIGIT_VALUES:
            digit = _DIGIT_VALUES[char]
            unit = unit if digit else 10
            continue
        unit = _UNIT_VALUES[char]
        if unit < 10_000:
            section += (digit or 1) * unit
        elif unit == 10_000:
            total += (section + digit) * unit
            section = 0
        else:
            total = (total + section + digit) * unit
            section = 0
        digit = 0
    return total + section + digit * unit // 10


def _figures(spoken: str) -> str:
    """Plain figures: a cardinal's value, or digits that were read out one by one."""
    if spoken[0] == "负":
        return "-" + _figures(spoken[1:])
    if "点" in spoken:
        return ".".join(_figures(part) for part in spoken.split("点"))
    if any(char in _UNIT_VALUES for char in spoken):
        return str(_value(spoken))
    return "".join(str(_DIGIT_VALUES[char]) for char in spoken)


def _number(spoken: str) -> str:
    """Figures for a number; a round one keeps its 万 or 亿 (120万, 3.5亿), as print does."""
    figures = _figures(spoken)
    if not figures.endswith("0000") or not ("万" in spoken or "亿" in spoken):
        return figures
    if figures.endswith("0" * 12):
        return figures[:-12] + "万亿"
    if "亿" in spoken:
        return f"{figures[:-8]}.{figures[-8:]}".rstrip("0").rstrip(".") + "亿"
    return figures[:-4] + "万"


def _percent(spoken: str) -> str:
    return _figures(spoken.removeprefix("百分之")) + "%"


def _per_mille(spoken: str) -> str:
    return _figures(spoken.removeprefix("千分之")) + "‰"


def _fraction(spoken: str) -> str:
    denominator, numerator = spoken.split("分之")
    return f"{_figures(numerator)}/{_figures(denominator)}"


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    write: Callable[[str], str]


def _rule(pattern: str, write: Callable[[str], str] = _number) -> _Rule:
    return _Rule(re.compile(pattern), write)


_OPERATOR = "加上?|减去?|乘以?|除以?|比|等于|大于|小于"
_AFTER_OPERATOR = "(?:{})".format(
    "|".join(
        [f"(?<=[{NUMERAL}]{operator})" for operator in ("加", "减", "乘", "除", "比", "加上", "减去", "乘以", "除以")]
        + [f"(?<={operator})" for operator in ("等于", "大于", "小于")]
    )
)

_RULES = (
    # Estimates and the multiplication table stay.
    _rule(f"(?:{L}[万千百])*(?:零?{D}?十{ESTIMATE}{ENDS}|{ESTIMATE}(?!{DIGIT})[十百千万亿]*)"),
    _rule(f"{D}{D}得?{D}?十{D}?"),
    _rule(f"(?<=[{NUMERAL}])一(?=[个平斤张天次位件本只份杯瓶])"),  # 两万五一平米
    # Clock with minutes, or after a part of the day: 三点五十, 三点五分, 下午一点, 上午十点零五.
    _rule(f"({HOUR})点({MINUTES})"),
    _rule(f"(?:{_IN_PART_OF_DAY}|{_ON_A_DAY})({HOUR})点(零{D})(?!{DIGIT}|{UNIT})"),
    _rule(f"(两)点(零{D})(?!{DIGIT}|{UNIT}|[万亿个倍])|({HOUR})点(零{D})(?=[开出起见集])"),
    _rule(f"{_IN_PART_OF_DAY}({HOUR})点"),
    # Shares.
    _rule(f"(百分之(?:百|{NUMBER})){ENDS}(?:[到至]({NUMBER})(?![{NUMERAL}{MEASURE}]))?", _percent),
    _rule(f"(千分之{NUMBER}){ENDS}", _per_mille),
    _rule(f"({WHOLE}分之{WHOLE}){ENDS}", _fraction),
    _rule(f"({WHOLE})(?=又{WHOLE}分之)"),
    # Decimals; a quarter past (三点一刻) and people at an hour (八点三个人) are none.
    _rule(f"(负?{DECIMAL})(?!{DIGIT}|[点十刻位名张件台辆本次]|个[人同问])"),
    # Dates: 三月八号, 九八年, 八零后.
    _rule(f"({TENS}|{D})月({TENS}|{D})(?=[日号])"),
    _rule(f"({TENS}|{D})(?=月|号)"),
    _rule(f"({DIGIT}{{2}})(?=年|后(?![来面天])|折|级)"),
    # The clock without minutes. 一点 is more often "a little", so it needs a reason.
    _rule(f"{_ON_A_DAY}(一)点"),
    _rule(f"(?<=[到至从])(一)(?=点[到至])|(?<=点[到至])(一)(?=点)|(一)(?=点(?:半|整|钟|[到至]{HOUR}点))"),
    _rule(f"({HOUR})(?<!一)(?=点)|(十一|二十一)(?=点)"),
    _rule(f"({D})(?=分{HOUR}点)|(?<=点[差过])({D})(?=分)|({D})(?=分{TENS}秒)"),
    # An amount with a tail: 五块五, 五元五角, 三十八度五, 一米七五.
    _rule(f"({DECIMAL}|{WHOLE})[块元]零?({D})(?=[角毛]|分(?!钟))"),
    _rule(f"({D})[角毛]({D})(?=分|{_FIXED_MASK}|(?!\\w))|(?<={D}[角毛])({D})(?=分|{_FIXED_MASK}|(?!\\w))"),
    _rule(f"({CARDINAL}|{LONE})[块元度米秒]({D}{{1,2}})(?![{MEASURE}十百千万亿零])"),
    # Lone digits that stand with other figures, a sign or a unit.
    _rule(f"(负(?:{CARDINAL}|{DIGIT}+|两))"),
    _rule(f"({LONE}|十)(?=(?:{_OPERATOR})[{NUMERAL}负]|等于)"),
    _rule(f"{_AFTER_OPERATOR}({LONE}|十)(?![{NUMERAL}{MEASURE}])"),
    _rule(f"({LONE})(?=[到至](?:{CARDINAL}|{DECIMAL}|{LONE}(?:{UNIT})))"),
    _rule(f"(?<=零下)({LONE})(?![{NUMERAL}])"),
    _rule(f"({DIGIT}{{1,2}}|两)(?=(?:{UNIT}))"),
    # 十 alone: 十个, 十分钟, 第十, but not 十分高兴, 十字路口.
    _rule(f"(十)(?=分(?:钟|(?!\\w))|(?!分)[{MEASURE}块元角多余]|来[个天年岁块位人]|{UNIT}|(?!\\w))"),
    _rule(f"(?<=第)(十)(?![{NUMERAL}])"),
    # Whatever is left: digits read out one by one, and cardinals.
    _rule(f"({DIGIT}{{3,}})"),
    _rule(f"(?!十(?![{NUMERAL}]))({CARDINAL})"),
)
_START = re.compile(f"[{NUMERAL}负]")


class _Replacement(NamedTuple):
    start: int
    end: int
    text: str


def _replacements(text: str) -> Iterator[_Replacement]:
    """The numbers of a text, left to right, as character spans with what is written for them."""
    masked = _FIXED.sub(lambda m: (_WEEKDAY_MASK if m["weekday"] else _FIXED_MASK) * len(m[0]), text)
    start = _START.search(masked)
    while start:
        position = start.start()
        end = position + 1
        for pattern, write in _RULES:
            if match := pattern.match(masked, position):
                end = match.end()
                for group in range(1, pattern.groups + 1):
                    if match[group]:
                        yield _Replacement(*match.span(group), write(match[group]))
                break
        start = _START.search(masked, end)


def normalise(words: Sequence[Word]) -> tuple[Word, ...]:
    """Writes the numbers among recognised words in figures (二十六度 -> 26度, 百分之二十 -> 20%).

    Each number becomes one word with the span of the words it replaces, the last one's punctuation
    and their summed log-probability. A number never spans punctuation. All other words are returned
    as they are, the same objects.
    """
    text = "".join(word.text + word.punctuation for word in words)
    if not _START.search(text):
        return tuple(words)
    word_at_start: dict[int, int] = {}
    word_at_end: dict[int, int] = {}
    offset = 0
    for i, word in enumerate(words):
        word_at_start[offset] = i
        word_at_end[offset + len(word.text)] = i
        offset += len(word.text) + len(word.punctuation)
    result: list[Word] = []
    done = 0
    for start, end, written in _replacements(text):
        first, last = word_at_start.get(start), word_at_end.get(end)
        if first is None or last is None:  # part of a longer word: not ours to split
            continue
        result += words[done:first]
        result.append(_merged(words[first : last + 1], written))
        done = last + 1
    result += words[done:]
    return tuple(result)


def _merged(words: Sequence[Word], text: str) -> Word:
    logprobs = [word.logprob for word in words if word.logprob is not None]
    return Word(
        text=text,
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        punctuation=words[-1].punctuation,
        logprob=sum(logprobs) if len(logprobs) == len(words) else None,
        token_ids=tuple(token for word in words for token in word.token_ids),
        timed=all(word.timed for word in words),
    )


_TOKEN = re.compile(r"([A-Za-z0-9_]+|\S)([^\w\s]*)")


def normalise_text(text: str) -> str:
    """:func:`normalise` for a plain string, spaced as ``join_words`` does where a number was rewritten."""
    words = tuple(Word(m[1], 0.0, 0.0, punctuation=m[2]) for m in _TOKEN.finditer(text))
    written = normalise(words)
    return text if written == words else join_words(written)
