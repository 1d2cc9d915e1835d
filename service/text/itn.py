"""Writes spoken numerals in recognised words as readers expect them (Chinese inverse text normalisation).

Words that hold a numeral and are no numbers (kept_words.txt, the request's hotwords, weekdays) are masked first.
``_RULES`` are then tried in order at every numeral that is left; each captured group of a matching rule is one
number to rewrite, and a rule without a group says that the text it matches stays. Only numeral characters are
replaced: 年, 点, 元 and the like are context. A lone digit stays a character unless a rule gives it a reason.
Numerals that touch and can't be read as one number stay as well.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from service.domain import Word, join_words
from service.text import kept_words
from service.text.kept_words import NUMERALS

# Numerals. L is a digit as it is said before 百, 千, 万; DIGIT one that is read out on its own.
D = "[一二三四五六七八九]"
L = "[一二两三四五六七八九]"
DIGIT = "[零〇幺一二三四五六七八九]"
LONE = "[零一二两三四五六七八九]"

MEASURE = (
    "个名位张台次件条只本份杯瓶斤公页场辆套双把首部栋箱袋盒碗盘项届期章节集题间家楼层种倍级句颗人户口岁天周年月日号"
    "分秒小点晚平所门艘座匹头棵株幅朵枚根篇封行列支笔批段处档例票卷册组队圈轮步站排桌包桶罐片道代架发回趟遍顿克吨"
    "米里亩路度"
)
# What a lone digit is measured in (三公里); not the words that begin like it.
UNIT = (
    "平方公里|平方千米|平方米|立方米|公里|厘米|毫米|微米|纳米|分米|米(?![饭线粉粥兰老其奇酒面勒])|英里|海里|英寸|英尺|"
    "公斤|千克|毫克|微克|克(?![服隆制扣敌])|斤|吨|磅|盎司|克拉|毫升|升(?![级学起旗降温值职任至到高为上入幅空一二三四五六七八九十])|加仑|"
    "平方|平米|立方|公顷|英亩|亩|摄氏度|华氏度|光年|分贝|小时|分钟|毫秒|秒|美元|欧元|英镑|日元|港元|港币|人民币|"
    "(?<!二)元(?![旦宵老素首件月帅气年代朝曲勋凶音])|块钱|毛钱|角钱|分钱|岁(?!月)|周岁|千瓦时|瓦(?![片解])|兆瓦|"
    "伏特|安培|兆|赫兹|千卡|大卡|卡路里|像素|字节|核(?![对实查心算])|核心(?=[一二三四五六七八九十]|处理器)|线程|个百分点|个基点|级(?:地震|大风|台风|以上大风)"
)
# What 千 before them belongs to, where a number stands before 千 already: 六十五千克.
THOUSANDFOLD = "(?:千(?:克|米|瓦|卡|伏|赫|帕|元|字|焦|牛|比特|安)|百帕)"
# 两百五, 三千六, 一万二: a last digit without its unit counts tenths of the unit before it; 两百一天 is no such case.
TAIL = f"(?:[二三四五六七八九]|一(?![{MEASURE}]))(?![零〇幺二三四五六七八九十百千万亿]|一(?![{MEASURE}]))"
TENS = f"{D}?十(?:{D}(?!百|千)|{D}(?={THOUSANDFOLD}))?"
HUNDREDS = f"{L}百(?:零{D}|{TENS}|{TAIL})?"
THOUSANDS = f"{L}千(?:零(?:{TENS}|{D})|{HUNDREDS}|{TENS}|{TAIL})?"
BELOW_10K = f"(?:{THOUSANDS}|{HUNDREDS}|{TENS})"
TEN_THOUSANDS = f"(?:{BELOW_10K}|{L})万(?:零?{BELOW_10K}|零{D}|{TAIL})?"
HUNDRED_MILLIONS = f"(?:{TEN_THOUSANDS}|{BELOW_10K}|{L})亿(?:零?(?:{TEN_THOUSANDS}|{BELOW_10K})|零{D}|{TAIL})?"
CARDINAL = f"(?:{HUNDRED_MILLIONS}|{TEN_THOUSANDS}|{BELOW_10K})"
WHOLE = f"(?:{CARDINAL}|{DIGIT}+|两)"
DECIMAL = f"{WHOLE}(?<!亿)(?:点{DIGIT}+)+"
NUMBER = f"负?(?:{DECIMAL}|{WHOLE})"
ENDS = f"(?!{DIGIT}|[十百千万亿几]|点几)"
# Digits in a row are an estimate or a list (七八个, 三四十, 十七八万, 三五天, 一二三产业).
IN_A_ROW = "(?:一二三?|二三四?|三四五?|四五六?|五六七?|六七八?|七八九?|八九|一两|两三|三五|三两)"
ESTIMATE = f"(?:{L}[亿万千百])*(?:零|{D}?十)?{IN_A_ROW}[十百千万亿]*(?!{DIGIT})"

HOUR = f"(?:二十[一二三四]?|十{D}?|{LONE})"
MINUTES = f"[二三四五]?十{D}?|零?(?:{D}|零)(?=分(?![钟米贝之]))"
PART_OF_DAY = (
    "上午|下午|中午|早上|晚上|凌晨|清晨|傍晚|半夜|夜里|深夜|今晚|明晚|昨晚|当晚|今早|明早|早晨|午夜|今晨|次日|当日|今日"
)
MONTH = f"(?:{TENS}|{D})"

# Where these numerals are written; in Japanese they are part of other words too.
LANGUAGES = frozenset({"zh", "yue", ""})

_WEEKDAY_MASK, _KEPT_MASK = "Φ", "Ω"


def _after(words: str, links: str = "") -> str:
    """A lookbehind for any of the words (separated by |), with or without one of the links."""
    said = {word + link for word in words.split("|") for link in ("", *filter(None, links.split("|")))}
    by_length = {len(phrase): [p for p in sorted(said) if len(p) == len(phrase)] for phrase in said}
    return "(?:{})".format("|".join(f"(?<={'|'.join(phrases)})" for _, phrases in sorted(by_length.items())))


_IN_PART_OF_DAY = f"(?:(?<={PART_OF_DAY})|(?<={_WEEKDAY_MASK}))"
_ON_A_DAY = "(?:(?<=今天|明天|后天|昨天|周末|现在)|(?<=现在是))"
_BY_SCORE = _after(
    "评分|得分|打分|积|分数|均分|平均分|总分|成绩|比分|豆瓣|口碑|满意度|好评度|指数|得|打|给|扣|加|涨|跌|差|考|高|低|赢|输|拿下|砍下|贡献|领先|"
    "落后|净胜|平均",
    "是|为|了|到|达|出|仅|高达|超过|只有",
)
_BY_POINTS = _after("扣|扣了|净胜|领先|落后|拿下|砍下|得了|得到|加了|积")
_BY_DEGREES = _after(
    "零下|零上|升|降|温|高|低|约|近|差|转|调|烤|烧|热|冷|摄氏|华氏|东经|西经|北纬|南纬|倾斜|超过|不到|用|耗|只有|还有",
    "到|至|了|是|为|达|约",
)

_MASKED = re.compile(
    "|".join(
        (
            # 四周 and 每周四十个小时 name no weekday.
            f"(?P<weekday>(?:星期|礼拜|(?<![{NUMERALS}几每])周|每周(?!{D}十{D}?(?![点一二三四五六七八九])))[一二三四五六日天])",
            f"第{D}(?![{NUMERALS}])",
            f"(?<![十百千万亿零])(?:(?<![{NUMERALS}]点)一个(?!百分点|基点|亿)|一个人)",
            f"(?:以下|[有这那讲提哪说谈]|补充|强调|注意|做到|坚持){L}点(?![半整钟零{NUMERALS}])",
            f"(?:以下|[有这那讲提哪说谈]){L}点(?=十分[^\\W钟])",
            f"{L}点(?=建议|要求|意见|原因|想法|内容|说明|看法|不同|理由|希望|体会|好处|问题|共识|经验|启示|感受|补充|"
            "疑问|期望|思考|认识|措施|变化|区别|优势|优点|缺点)",
        )
    )
)

# Traditional characters of numbers, of what they count and of words that keep them, read like the simplified ones.
_SIMPLIFIED = str.maketrans(
    "兩萬億點個幾負張臺條雙輛場頁層樓級項屆題間號歲時鐘週塊錢圓員車門隻頭顆葉節種聲萊畝裡裏發筆處檔組圈輪轉盤總"
    "數風寶國軍馬書傳興權寸銖鈞維顏飛龍鳳親願舉讓應靈變動難載勢極樣顧實現內從後來學會說見請給過達約億雲電話樂長關離專業"
    "東線農曆臘陽陰舊圖師團隊歐鎊華氏攝溫熱濕紅綠藍銀閃鳴驚謝語視論語計機網頻壓幣",
    "两万亿点个几负张台条双辆场页层楼级项届题间号岁时钟周块钱元员车门只头颗叶节种声莱亩里里发笔处档组圈轮转盘总"
    "数风宝国军马书传兴权寸铢钧维颜飞龙凤亲愿举让应灵变动难载势极样顾实现内从后来学会说见请给过达约亿云电话乐长关离专业"
    "东线农历腊阳阴旧图师团队欧镑华氏摄温热湿红绿蓝银闪鸣惊谢语视论语计机网频压币",
)
# As cheques are written; 参加, 大陆 and 拾取 hold none: a figure's unit follows each digit.
_ON_CHEQUES = str.maketrans("壹贰貳弐叁参參叄肆伍陆陸柒捌玖拾佰仟圆圓", "一二二二三三三三四五六六七八九十百千元元")
_CHEQUE_DIGIT = "[壹贰貳弐叁参參叄肆伍陆陸柒捌玖]"
_CHEQUE = re.compile(
    f"(?:{_CHEQUE_DIGIT}[拾佰仟]|拾(?={_CHEQUE_DIGIT})|(?<![大队隊]){_CHEQUE_DIGIT}[十百千万](?=[元圆圓块]|{_CHEQUE_DIGIT}))"
    f"(?:零?{_CHEQUE_DIGIT}?[拾佰仟十百千万亿])*(?:零?{_CHEQUE_DIGIT})?|{_CHEQUE_DIGIT}[万亿](?=[元圆圓块整]|{_CHEQUE_DIGIT})"
)
_OPEN_CHEQUE = re.compile(f"{_CHEQUE_DIGIT}[十百千万亿]?$")

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
    return _figures(spoken.replace("百分之", "")) + "%"


def _per_mille(spoken: str) -> str:
    return _figures(spoken.replace("千分之", "")) + "‰"


def _fraction(spoken: str) -> str:
    if spoken[0] == "负":
        return "-" + _fraction(spoken[1:])
    denominator, numerator = spoken.split("分之")
    return f"{_figures(numerator)}/{_figures(denominator)}"


class _Rule(NamedTuple):
    """``needs``: a text with none of these characters has nothing for the rule, which saves trying it."""

    pattern: re.Pattern[str]
    write: Callable[[str], str]
    needs: frozenset[str]


def _rule(pattern: str, write: Callable[[str], str] = _number, *, needs: str = "") -> _Rule:
    return _Rule(re.compile(pattern), write, frozenset(needs))


_OPERATOR = "加上?|减去?|乘以?|除以?|比|等于|大于|小于"
_AFTER_OPERATOR = "(?:{})".format(
    "|".join(
        [f"(?<=[{NUMERALS}]{operator})" for operator in ("加", "减", "乘", "除", "比", "加上", "减去", "乘以", "除以")]
        + [f"(?<={operator})" for operator in ("等于", "大于", "小于")]
    )
)
_END_OF_PRICE = f"分|{_KEPT_MASK}|一[{MEASURE}]|(?!\\w)"
_KEY_MEASURE = "个位下次遍年月天套条项折定"
# Names with which a digit is one with no other sign of it: MP三, iPhone六.
_MODEL = _after("MP|PM|CO|SO|NO|USB|HTML|DDR|GPT|PS|iPhone|iPad|Windows|Win|Android|iOS|WiFi|Web|Level|Model|mp|pm|co")

_LETTERS = string.ascii_letters

_RULES = (
    # Beside Latin letters: PM二点五, G一二三次, H五N一, 五G, 四S店.
    _rule(f"(?<=[A-Za-z])({DECIMAL}|{DIGIT}{{2,}}|{CARDINAL}){ENDS}", needs=_LETTERS),
    _rule(f"(?<=[A-Za-z])(?<![A-Za-z]{{2}})({D})(?![{NUMERALS}个人位名种样件张只起])", needs=_LETTERS),
    _rule(
        f"{_MODEL}({D})(?![{NUMERALS}个款台部种])|(?<=[A-Za-z])({D})(?![\\w])|(?<=[A-Za-z])({D})(?=[A-Za-z])",
        needs=_LETTERS,
    ),
    _rule(
        f"(?<![每这那哪某另任第])({LONE}|十|{DIGIT}{{2}})(?=(?:[A-Za-z]{{1,2}}|[GMk]Hz)(?![A-Za-z]))", needs=_LETTERS
    ),
    # What is no figure: estimates, the multiplication table, several decades or school years in one breath.
    _rule(f"(?<![号码])(?:[百千]分之)?{ESTIMATE}(?!房|室|国道|路公交)"),
    _rule(f"(?<![{NUMERALS}])[百千万]{D}?[十百千]|[{NUMERALS}]+几[十百千万亿]*|{D}十[好大]几|(?<=几)[十百千万亿]+"),
    _rule("(?<=数)(?<![人次总分件户岁天倍指基级页票读]数)[十百千万亿]+", needs="数"),
    _rule(f"{D}{D}得?{D}?十{D}?(?![{NUMERALS}])"),
    _rule("(?:[零一五六七八九]零|[零一七八九]五){2,}(?=后|年代)", needs="后代"),
    _rule(f"(?:(?:一九|二零){DIGIT}{{2}}){{2,}}(?=年|学年|财年|赛季)", needs="年季"),
    _rule(f"[{NUMERALS}]*[万亿]分之{NUMBER}|[百千]分之[{NUMERALS}点]+?(?=[百千]分之)", needs="之"),
    _rule(f"(?<=[{NUMERALS}])一(?=[{MEASURE}])"),  # 两万五一平米
    _rule(f"(?<=[块元钱毛])一(?=[{MEASURE}]|{UNIT})(?!分)"),  # 五块一斤
    _rule(f"一月(?=[一两二三四五][^{NUMERALS}日号月\\W])|{L}月(?=[一两三四五]次)", needs="月"),
    _rule(f"负{D}(?=[层楼])", needs="负"),
    _rule(f"{MONTH}月{D}(?![{NUMERALS}日号{MEASURE}])", needs="月"),
    # Points, before the clock: 评分九点二分.
    _rule(f"{_BY_SCORE}({DECIMAL})(?=分(?![钟之]))", needs="分"),
    _rule(f"{_BY_SCORE}({LONE}|十)(?=分(?:的|领先|优势|(?!\\w)))|{_BY_POINTS}({L})(?=分(?![钟之球线]))", needs="分"),
    # Clock with minutes, or after a part of the day: 三点五十, 三点五分, 下午一点, 上午十点零五.
    _rule(f"({HOUR})点({MINUTES})(?![百千万亿])", needs="点"),
    _rule(f"(?:{_IN_PART_OF_DAY}|{_ON_A_DAY})({HOUR})点(零{D})(?!{DIGIT}|{UNIT})", needs="点"),
    _rule(f"(两)点(零{D})(?!{DIGIT}|{UNIT}|[万亿个倍])|({HOUR})点(零{D})(?=[开出起见集])", needs="点"),
    _rule(f"{_IN_PART_OF_DAY}({HOUR})(?=[点时])|(?<=[日号])({HOUR})(?=时)", needs="点时"),
    _rule(f"({HOUR})(?=时(?:[{NUMERALS}]+分|许|整|左右|[到至]))", needs="时"),
    # Shares.
    _rule(f"(负?百分之(?:百|{NUMBER})){ENDS}(?:[到至]({NUMBER})(?![{NUMERALS}{MEASURE}分]))?", _percent, needs="之"),
    _rule(f"(负?千分之{NUMBER}){ENDS}", _per_mille, needs="之"),
    _rule(f"(负?{WHOLE}分之{WHOLE}){ENDS}", _fraction, needs="之"),
    _rule(f"({WHOLE})(?=又{WHOLE}分之)", needs="之"),
    # Decimals; a quarter past (三点一刻) is none.
    _rule(f"(负?{DECIMAL})(?!{DIGIT}|[点十刻])", needs="点"),
    # Dates: 三月八号, 九八年, 八零后.
    _rule(f"({MONTH})月({MONTH})(?=[日号])", needs="月"),
    _rule(f"({MONTH})(?=月|号)|({DIGIT}{{2,3}})(?=号)", needs="月号"),
    _rule(f"({DIGIT}{{2}})(?=年|后(?![来面天])|折|级)", needs="年后折级"),
    _rule(f"(?<=公元|元前)({D})(?=世纪|年)", needs="元"),
    _rule(
        f"(?<=本月|上月|下月|当月)({D})(?=日)|({D})(?=日(?:[上下]午|晚|凌晨|电|讯|至|起|召开|在|发布|举行|[{NUMERALS}]+时))",
        needs="日",
    ),
    # The clock without minutes. 一点 is more often "a little", so it needs a reason.
    _rule(f"{_ON_A_DAY}(一)点", needs="点"),
    _rule(f"(?<=[到至从])(一)(?=点[到至])|(?<=点[到至])(一)(?=点)|(一)(?=点(?:半|整|钟|[到至]{HOUR}点))", needs="点"),
    _rule(f"({HOUR})(?<!一)(?=点(?!来钟|几))|(十一|二十一)(?=点)", needs="点"),
    _rule(f"({LONE}|十)(?=分{HOUR}点)|(?<=点[差过])({LONE}|十)(?=分)", needs="点"),
    _rule(f"({LONE}|十)(?=分[{NUMERALS}]+秒)", needs="秒"),
    # An amount with a tail: 五块五, 五元五角, 三十八度五, 一米七五, 三斤二两.
    _rule(f"({DECIMAL}|{WHOLE})[块元]零?({L})(?=[角毛]|分(?!钟))", needs="块元"),
    _rule(f"({L})[角毛]({D})(?={_END_OF_PRICE})|(?<={L}[角毛])({D})(?={_END_OF_PRICE})", needs="角毛"),
    _rule(f"({CARDINAL}|{LONE})[块元]({D}{{1,2}})(?!(?!包邮)[{MEASURE}十百千万亿零])", needs="块元"),
    _rule(f"({CARDINAL}|{LONE})[度米秒]({DIGIT}{{1,2}})(?![{MEASURE}{NUMERALS}])", needs="度米秒"),
    _rule(f"({CARDINAL}|{LONE})斤({L})两({D})(?!\\w)|({CARDINAL}|{LONE})斤({L})(?=两)", needs="斤"),
    # Lone digits that stand with other figures, a sign, a key or a unit.
    _rule(f"(负(?:{CARDINAL}|{DIGIT}+|两))", needs="负"),
    _rule(f"({LONE}|十一?)(?=(?:{_OPERATOR})[{NUMERALS}负]|等于)", needs="加减乘除比于"),
    _rule(f"{_AFTER_OPERATOR}({LONE}|十一?)(?![{NUMERALS}]|(?!平)[{MEASURE}])", needs="加减乘除比于"),
    _rule(f"({LONE}|十)(?=[到至](?:{CARDINAL}|{DECIMAL}|{LONE}(?:{UNIT}|[月日号点])))", needs="到至"),
    _rule(
        f"(?:(?<=[请再先就]按)|(?<=请拨|加拨|前拨|输入|回复|发送))({LONE})(?![{NUMERALS}{_KEY_MEASURE}])",
        needs="按拨入复送",
    ),
    _rule(f"(?<=按)({LONE})(?=键|号|[返转查进继重确退结取办咨投听]|人工|(?!\\w))", needs="按拨入复送"),
    _rule(
        f"{_BY_DEGREES}({LONE})(?=度)|(?<=零下)({LONE})(?![{NUMERALS}])|({LONE})(?=度(?:电|角|左右|以[上下内]|多))",
        needs="度下",
    ),
    _rule(f"({WHOLE})(?=的[{NUMERALS}]+次方)|(?<=的)({LONE}|十)(?=次方)", needs="方"),
    _rule(f"({L})(?=千[克赫])"),
    _rule(f"({DIGIT}{{1,2}}|两)(?<!零)(?=(?:{UNIT}))"),
    _rule(f"(?<=[楼栋号院弄])({D})(?=单元|栋)", needs="元栋"),
    # 十 alone: 十个, 十分钟, 第十, but not 十分高兴, 十字路口.
    _rule(f"(十)(?=分(?:钟|(?!\\w))|(?!分)[{MEASURE}块元角多余]|来[个天年岁块位人]|{UNIT}|(?!\\w))"),
    _rule(f"(?<=第)(十)(?![{NUMERALS}])", needs="第"),
    # Whatever is left: digits read out one by one, and cardinals; 十一 alone is more often the holiday.
    _rule(f"({DIGIT}{{3,20}})(?!{DIGIT})"),
    _rule(f"(?!十(?![{NUMERALS}]))(?!(?<!第)十一(?![{NUMERALS}{MEASURE}块元角余多]|{UNIT}|[到至、]))({CARDINAL})"),
)
_START = re.compile(f"[{NUMERALS}负]")
# How much follows a number before no rule can read it otherwise, and the numbers at the end that belong together.
_SETTLING_CHARS = 4
_LAST_NUMERAL = re.compile(f"[{NUMERALS}负](?:[^\\W{NUMERALS}负年号]{{0,2}}[{NUMERALS}负])*(?=[^{NUMERALS}负]*$)")
# Numerals that touch a number and are no part of it; not those of their own: 两百一天, 六十五千克, 元零五角, 二两五.
_TOUCHED_BEFORE = re.compile(f"(?!(?<=斤.)两)(?:(?<![块元角])零|[{NUMERALS.replace('零', '')}0-9])")
_TOUCHED_AFTER = re.compile(f"(?!{LONE}[{MEASURE}]|{THOUSANDFOLD}|(?<=斤.)两)[{NUMERALS}0-9]")


class _Replacement(NamedTuple):
    start: int
    end: int
    text: str


def _replacements(text: str, hotwords: Sequence[str]) -> list[_Replacement]:
    """The numbers of a text, left to right, as character spans with what is written for them."""
    masked = _masked(text, hotwords)
    rules = [rule for rule in _RULES if not rule.needs or not rule.needs.isdisjoint(masked)]
    found: list[_Replacement] = []
    start = _START.search(masked)
    while start:
        position = start.start()
        end = position + 1
        for pattern, write, _ in rules:
            if match := pattern.match(masked, position):
                end = match.end()
                for group in range(1, pattern.groups + 1):
                    if match[group]:
                        found.append(_Replacement(*match.span(group), write(match[group])))
                break
        start = _START.search(masked, end)
    starts, ends = {r.start for r in found}, {r.end for r in found}
    return [
        r
        for r in found
        if r.start not in ends
        and r.end not in starts
        and not (r.start and _TOUCHED_BEFORE.match(masked, r.start - 1))
        and (not _TOUCHED_AFTER.match(masked, r.end) or ("." in r.text and masked[r.end] in "万亿"))
    ]


def _masked(text: str, hotwords: Sequence[str]) -> str:
    chars = list(text)
    for start, end in [*kept_words.kept(text), *kept_words.places_of([*map(_simplified, hotwords)], text)]:
        chars[start:end] = _KEPT_MASK * (end - start)
    return _MASKED.sub(lambda m: (_WEEKDAY_MASK if m["weekday"] else _KEPT_MASK) * len(m[0]), "".join(chars))


def normalise(words: Sequence[Word], hotwords: Sequence[str] = ()) -> tuple[Word, ...]:
    """Writes the numbers among recognised words in figures (二十六度 -> 26度, 百分之二十 -> 20%).

    Each number becomes one word with the span of the words it replaces, the last one's punctuation
    and their summed log-probability; letters that it is one name with are part of it (G123, PM2.5). A number
    never spans punctuation, and ``hotwords`` are never rewritten. All other words are returned as they are, the
    same objects.
    """
    text = _text_of(words)
    if not _START.search(text):
        return tuple(words)
    return _written(words, _replacements(text, hotwords))


def normalise_open(words: Sequence[Word], hotwords: Sequence[str] = ()) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Writes numbers as :func:`normalise` does, in words to which more may come: what is settled, and the rest.

    The rest begins with a number that may still grow, or be read otherwise by what follows it; it is left in
    characters.
    """
    text = _text_of(words)
    settled_end = _settled_end(text)
    count = offset = 0
    for word in words:
        offset += len(word.text) + len(word.punctuation)
        if offset > settled_end:
            break
        count += 1
    if not count or not _START.search(text):
        return tuple(words[:count]), tuple(words[count:])
    replacements = [r for r in _replacements(text, hotwords) if r.end <= settled_end]
    return _written(words[:count], replacements), tuple(words[count:])


def _settled_end(text: str) -> int:
    """Where what may still be written otherwise begins."""
    chars = list(text)
    for start, end in kept_words.kept(text):
        if text[end - 1] not in NUMERALS:  # more numerals would be no part of it
            chars[start:end] = _KEPT_MASK * (end - start)
    settled = kept_words.begun(text)
    if cheque := _OPEN_CHEQUE.search(text):
        settled = min(settled, cheque.start())
    last = _LAST_NUMERAL.search("".join(chars))
    if last is None or len(text) - last.end() >= _SETTLING_CHARS:
        return settled
    return min(settled, last.start())


def _text_of(words: Sequence[Word]) -> str:
    """The text as the rules read it: each character stands where it was written, simplified."""
    return _simplified("".join(word.text + word.punctuation for word in words))


def _simplified(text: str) -> str:
    return _CHEQUE.sub(lambda found: found[0].translate(_ON_CHEQUES), text.translate(_SIMPLIFIED))


def _written(words: Sequence[Word], replacements: Iterable[_Replacement]) -> tuple[Word, ...]:
    word_at_start: dict[int, int] = {}
    word_at_end: dict[int, int] = {}
    offset = 0
    for i, word in enumerate(words):
        word_at_start[offset] = i
        word_at_end[offset + len(word.text)] = i
        offset += len(word.text) + len(word.punctuation)
    result: list[Word] = []
    done = 0
    for start, end, written in replacements:
        first, last = word_at_start.get(start), word_at_end.get(end)
        if first is None or last is None:  # part of a longer word: not ours to split
            continue
        result += words[done:first]
        number = [_merged(words[first : last + 1], written)]
        if result and not result[-1].punctuation and _NAME_BEFORE.search(result[-1].text):
            number.insert(0, result.pop())
        done = last + 1
        if done < len(words) and not number[-1].punctuation and _NAME_AFTER.match(words[done].text):
            number.append(words[done])
            done += 1
        result.append(_merged(number, "".join(word.text for word in number)))
    result += words[done:]
    return tuple(result)


# Letters that are one name with the number beside them (PM2.5, 256GB), and English words that never are.
_NAME_BEFORE = re.compile(r"(?<![A-Za-z])(?!(?:in|on|at|of|to|is|by|the|for|and|or)$)(?:[A-Z]{1,4}|[a-z]{1,3})$")
_NAME_AFTER = re.compile(
    r"(?!(?:in|on|at|of|to|is|by|the|for|and|or)$)(?:[A-Z]{1,4}|[a-z]{1,3}|[A-Za-z]{2}|[GMk]Hz|mAh|kWh)(?![A-Za-z])"
)


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


def normalise_text(text: str, hotwords: Sequence[str] = ()) -> str:
    """:func:`normalise` for a plain string, spaced as ``join_words`` does where a number was rewritten."""
    words = tuple(Word(m[1], 0.0, 0.0, punctuation=m[2]) for m in _TOKEN.finditer(text))
    written = normalise(words, hotwords)
    return text if written == words else join_words(written)
