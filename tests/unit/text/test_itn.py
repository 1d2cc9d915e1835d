"""Chinese inverse text normalisation: what is written for what is spoken, and what stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Word, join_words
from service.text.itn import normalise, normalise_open, normalise_text

PHRASES = [
    line.split("\t")
    for line in (Path(__file__).parent / "itn_phrases.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]

READERS_EXPECT = """
二零二六年十一月二十三日下午三点半 2026年11月23日下午3点半
今天是三月八号 今天是3月8号
十点十五分 10点15分
上午九点开会 上午9点开会
两点二十 2点20
气温零下十二度 气温零下12度
一共三百零五元 一共305元
一共五十六块钱 一共56块钱
电话一三八零零一二三四五六 电话13800123456
幺三八零零幺二三四五六 13800123456
订单号是零三五七二一 订单号是035721
百分之二十 20%
三点五公里 3.5公里
三分之一 1/3
第十二个问题 第12个问题
他今年三十五岁 他今年35岁
一百二十万人 120万人
三亿五千万 3.5亿
两千四百 2400
一万 1万
二十六度 26度
负五 -5
二十三加四等于多少 23加4等于多少
"""

TRADITIONAL = """
兩百三十元 230元
一萬兩千 12000
三十億 30亿
買了二萬五千個 買了25000個
三月八號下午三點五十分 3月8號下午3點50分
二十歲 20歲
五塊五 5塊5
十五樓 15樓
貳佰 200
參百元 300元
伍佰元 500元
贰佰叁拾元 230元
貳萬伍仟元整 25000元整
壹万元 1万元
拾伍元 15元
一斤三两五 1斤3两5
一斤三兩五。 1斤3兩5。
來兩斤三兩五花肉 來2斤3兩五花肉
"""

DIGITS = """
幺幺零 110
三零五房间 305房间
二〇二六年 2026年
一九九八年 1998年
九八年 98年
九零后 90后
一百三十八点零五 138.05
一九二点一六八点一点一 192.168.1.1
"""

CARDINALS = """
两百五 250
一百五十 150
三千六 3600
一万二 12000
一万两千三百 12300
九万八千七百六十五 98765
一万零五 10005
一千零一十 1010
十万 10万
一千万 1000万
五百六十七万八千 5678000
一亿零五百万 1.05亿
一万亿 1万亿
一亿两千三百四十五万六千七百八十九 123456789
两百一天 200一天
房价两万五一平米 房价25000一平米
二十多个 20多个
要十个小时 要10个小时
"""

CLOCK = """
十点整 10点整
三点一刻 3点一刻
三点五分 3点5分
九点零五分 9点05分
九点十分 9点10分
下午两点零五开会 下午2点05开会
下周五下午两点 下周五下午2点
一点半 1点半
下午一点开会 下午1点开会
从一点到三点 从1点到3点
星期三一点开会 星期三1点开会
周三十二点半 周三12点半
晚上八点三个人吃饭 晚上8点三个人吃饭
零点三十分 0点30分
"""

DECIMALS_AND_SHARES = """
零点五 0.5
三点五分钟 3.5分钟
十二点零五公里 12.05公里
三点五万 3.5万
百分之百 100%
百分之零点五 0.5%
百分之三到五 3%到5%
千分之三 3‰
十分之九 9/10
"""

MONEY_AND_MEASURES = """
三百零五元五角 305元5角
三百九十一元一角四分 391元1角4分
五块五 5块5
苹果五百块三一个 苹果500块3一个
二十三块一个 23块一个
一米七五 1米75
三十八度五 38度5
三到五公里 3到5公里
八到十个人 8到10个人
五岁 5岁
十分钟 10分钟
得了十分。 得了10分。
第十 第10
"""

ARITHMETIC = """
五加三等于八 5加3等于8
三乘以四等于十二 3乘以4等于12
负三加负五 -3加-5
从一到十 从1到10
三比二 3比2
"""

STAYS = """
参加
參與
大陸百貨
陆地
拾金不昧
拾到
兩岸
兩個人
萬一
千萬
十萬火急
幾十個
这件事十分重要。 万一下雨呢？ 我们一起去。 一点都不好。 三三两两。 三心二意。 九九乘法表。 星期三。 说一不二。
十几个人。 七八个。 一半。 我有一个问题。 两张票。 一会儿。 统一。 十分高兴。 三个人。
三四十 二十几岁 十七八岁 一百二三十 三四百块 几百万人 好几千 上百人 百分之几 百分之二三十 三到五个人
第一 第一次 第三个 周五 每周三次 千万不要 百货 十字路口 千里之外 四面八方 七上八下 三七二十一 九九八十一 一五一十
快一点 有一点冷 一点一点地 我有三点建议 这三点十分重要 一元二次方程 肩负三项任务 从零开始 五块一个 打八折 一度以为
"""


def pairs(*tables: str) -> list[list[str]]:
    return [line.split() for table in tables for line in table.strip().splitlines()]


@pytest.mark.parametrize(
    ("spoken", "written"),
    pairs(READERS_EXPECT, DIGITS, CARDINALS, CLOCK, DECIMALS_AND_SHARES, MONEY_AND_MEASURES, ARITHMETIC, TRADITIONAL),
)
def test_a_number_is_written_as_readers_expect(spoken: str, written: str) -> None:
    assert normalise_text(spoken) == written


def test_phrases_are_written_as_a_careful_newspaper_prints_them() -> None:
    got = [(spoken, normalise_text(spoken)) for spoken, _ in PHRASES]
    assert got == [(spoken, written) for spoken, written in PHRASES]


@pytest.mark.parametrize("text", STAYS.split())
def test_a_word_that_is_no_figure_stays(text: str) -> None:
    assert normalise_text(text) == text


def test_text_without_a_numeral_is_unchanged_to_the_byte() -> None:
    text = " 你好,  world!\t今天天气怎么样？ \n"
    assert normalise_text(text) == text


def test_a_figure_of_a_cheque_is_open_until_its_unit_is_known() -> None:
    settled, rest = normalise_open(spoken("付伍"))
    assert ([w.text for w in settled], [w.text for w in rest]) == (["付"], ["伍"])
    assert [w.text for w in normalise(spoken("付伍佰元"))] == ["付", "500", "元"]


def test_hotwords_keep_their_numerals_in_either_script() -> None:
    assert (
        normalise_text("去兩百三十號", ["兩百三十號"])
        == normalise_text("去兩百三十號", ["两百三十号"])
        == "去兩百三十號"
    )


@pytest.mark.parametrize("mark", "，。？、")
def test_a_number_never_spans_punctuation(mark: str) -> None:
    assert normalise_text(f"三十{mark}五") == f"30{mark}五"
    assert normalise_text(f"三{mark}五") == f"三{mark}五"
    assert normalise_text(f"二零{mark}二六") == f"二零{mark}二六"


def spoken(text: str, punctuation: str = "", logprob: float | None = -0.5) -> list[Word]:
    """One word a character, half a second each, with the mark after the last."""
    words = [Word(c, i / 2, i / 2 + 0.5, "", logprob, (i,)) for i, c in enumerate(text)]
    last = words[-1]
    return [*words[:-1], Word(last.text, last.start_s, last.end_s, punctuation, logprob, last.token_ids)]


def test_a_written_number_takes_the_span_punctuation_and_tokens_of_its_words() -> None:
    words = spoken("共三百零五", punctuation="，")
    assert normalise(words) == (words[0], Word("305", 0.5, 2.5, "，", -2.0, (1, 2, 3, 4)))


def test_words_around_a_number_are_the_same_objects() -> None:
    words = spoken("气温零下十二度", punctuation="。")
    written = normalise(words)
    assert [w.text for w in written] == ["气", "温", "零", "下", "12", "度"]
    assert all(a is b for a, b in zip(written[:4], words[:4], strict=True))
    assert written[-1] is words[-1]


def test_a_number_with_a_word_of_unknown_probability_has_none() -> None:
    words = [*spoken("三"), *spoken("十", logprob=None)]
    assert normalise(words)[0].logprob is None


def test_a_number_is_not_cut_out_of_a_longer_word() -> None:
    words = (Word("二十", 0.0, 1.0), Word("五个", 1.0, 2.0))
    assert normalise(words) == words


def test_a_date_keeps_its_units_as_words_of_their_own() -> None:
    assert [w.text for w in normalise(spoken("二零二六年十一月三日"))] == ["2026", "年", "11", "月", "3", "日"]


def test_latin_words_keep_their_spaces() -> None:
    words = (Word("hello", 0.0, 0.5), Word("world", 0.5, 1.0), *spoken("二十度"))
    assert join_words(normalise(words)) == "hello world 20度"


def test_nothing_gives_nothing() -> None:
    assert normalise(()) == ()
    assert normalise_text("") == ""


@pytest.mark.parametrize("text", ["三十五三十六三十七", "房间三零五三十八平米", "两万三万", "百分之五百分之十"])
def test_numbers_that_run_into_each_other_stay_in_characters(text: str) -> None:
    assert normalise_text(text) == text


def test_a_number_beside_figures_that_were_recognised_stays_in_characters() -> None:
    words = (Word("20", 0.0, 1.0), *spoken("三十"))
    assert normalise(words) == words


@given(st.text("零一二三五八九十百千万亿两点分年月日号个元度负第之几到比的G ", max_size=12))
def test_a_number_is_never_followed_by_another_with_a_blank_between(text: str) -> None:
    assert not re.search(r"\d[%‰]? -?\d", normalise_text(text))


def test_letters_that_are_one_name_with_a_number_are_one_word_with_it() -> None:
    words = (Word("PM", 0.0, 1.0, "", -1.0, (7,)), *spoken("二点五", punctuation="。"))
    assert normalise(words) == (Word("PM2.5", 0.0, 1.5, "。", -2.5, (7, 0, 1, 2)),)


def test_a_longer_latin_word_keeps_its_blank() -> None:
    assert normalise_text("iPhone十五") == normalise_text("iPhone 十五") == "iPhone 15"


@pytest.mark.parametrize(
    ("text", "hotword", "written"),
    [
        ("欢迎来到二十五度咖啡", "二十五度咖啡", "欢迎来到二十五度咖啡"),
        ("两点到三百里酒家", "三百里", "2点到三百里酒家"),
        ("第十二夜三十元", "第十二夜", "第十二夜30元"),
        ("OPPO十二", "oppo 十二", "OPPO十二"),
        ("五十六号", "十六", "56号"),
    ],
)
def test_a_hotword_is_not_rewritten(text: str, hotword: str, written: str) -> None:
    assert normalise_text(text, [hotword]) == written


@pytest.mark.parametrize(
    ("so_far", "settled", "rest"),
    [
        ("今天是二零", "今天是", "二零"),
        ("今天是二零二六年", "今天是", "二零二六年"),
        ("今天是二零二六年十一月", "今天是2026年", "十一月"),
        ("今天是二零二六年的春", "今天是", "二零二六年的春"),
        ("今天是二零二六年的春节", "今天是2026年的春节", ""),
        ("今天是二零二六年的春节前一天", "今天是2026年的春节前", "一天"),
        ("这里是三十年河", "这里是", "三十年河"),  # so begins a listed word
        ("你好", "你好", ""),
    ],
)
def test_a_number_that_may_still_grow_stays_open(so_far: str, settled: str, rest: str) -> None:
    assert tuple(map(join_words, normalise_open(spoken(so_far)))) == (settled, rest)


@pytest.mark.parametrize("after", ["", "所以我们先这样吧"])
def test_what_is_settled_is_how_the_whole_begins(after: str) -> None:
    for phrase, _ in PHRASES:
        words = [Word(m[0], 0.0, 0.0) for m in re.finditer(r"[A-Za-z]+|.", phrase + after)]
        whole = join_words(normalise(words))
        parts = [join_words(normalise_open(words[:count])[0]) for count in range(len(words) + 1)]
        assert [part for part in parts if not whole.startswith(part)] == []
