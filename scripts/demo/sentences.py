"""Draws punctuated sentences of the demo pack's closed Mandarin domain from patterns with slots.

A pattern is a string whose ``{slot}`` parts are filled at random; ``SLOTS`` holds word lists,
``_GENERATORS`` the slots that are computed (numbers, dates, clock times). One sentence in twenty
(by a hash of its characters) is kept out of training: see :func:`is_held_out`.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable

DIGITS = "零一二三四五六七八九"
PUNCTUATION = "，。？、"
SHORT_ANSWERS = ("好。", "是。", "对。", "不是。", "谢谢。", "好的。", "可以。", "不对。", "没有。", "再见。")

SLOTS: dict[str, list[str]] = {
    name: words.split()
    for name, words in {
        "city": "北京 上海 广州 深圳 杭州 南京 成都 重庆 武汉 西安 天津 苏州",
        "place": "公司 学校 医院 银行 机场 火车站 超市 图书馆 公园 酒店 办公室 家里",
        "person": "小明 小红 王老师 李经理 张医生 刘先生 陈女士 妈妈 爸爸 同学",
        "surname": "王 李 张 刘 陈",
        "title": "老师 经理 医生 先生 女士",
        "who": "我 你 他 我们 你们 他们 {person}",
        "room": "客厅 卧室 厨房 书房",
        "device": "空调 电视 灯 窗帘 音乐 电脑 手机 洗衣机 闹钟 门",
        "food": "米饭 面条 苹果 牛奶 咖啡 茶 鱼 鸡蛋 水果 蛋糕 饺子 面包 牛肉 鸡肉 水 果汁 菜 汤",
        "feeling": "高兴 开心 累 忙 饿 冷 热 好 着急 难过 生气 舒服 满意",
        "weather": "晴天 多云 阴天 小雨 大雨 下雪 有雾 刮大风",
        "weekday": "星期一 星期二 星期三 星期四 星期五 星期六 星期天 周一 周二 周三 周四 周五 周六 周日",
        "next_weekday": "下周一 下周二 下周三 下周四 下周五 下周六 下周日 这周五 本周三 上周五",
        "day": "今天 明天 后天 昨天 周末 {weekday} {next_weekday}",
        "part": "早上 上午 中午 下午 晚上",
        "when": "{day} {day} {day}{part} {part}",
        "action": "开会 上课 吃饭 看电影 跑步 买东西 看书 休息 工作 打电话 学习 旅行 上班 回家 睡觉 听音乐",
        "language": "中文 英文 数学 音乐 历史",
        "item": "文件 报告 合同 邮件 照片 密码 订单 地址 名字 问题 电话 会议 快递 资料",
        "advice": "出门请带伞 注意安全 多穿衣服 天气很好 路上小心 不要出门",
        "thanks": "谢谢 对不起 没关系 再见 不客气 明白了 知道了 好的 是的 不是 可以 不可以 好 是 对 不对 没问题 没有",
        "direction": "前面 后面 左边 右边 对面 楼上 楼下 里面 外面 旁边",
        "up_down": "大 小 高 低",
        "level": "音量 声音 亮度 温度",
        "measured": "一张 两张 三张 四张 五张",
        "ticket": "机票 火车票 票 电影票",
        "system": "语音识别系统 智能助手 语音服务 语音识别服务",
    }.items()
}

PATTERNS = """
{digits}。
{number}。
{number}，{number}，{number}。
我的电话号码是{phone}。
请拨打{phone}。
电话{phone}。
请记一下我的电话，{phone}。
验证码是{code}，请不要告诉别人。
验证码是{code}。
密码是{code}，请不要告诉别人。
订单号是{order}。
我的订单号是{order}。
房间号是{code}。
一共{money}。
一共是{money}，请问怎么付钱？
这个多少钱？{money}。
{food}{money}一个。
{number}加{number}等于多少？
{number}减{number}等于多少？
{number}加{number}等于{number}。
{number}减{number}等于{number}。
百分之{small}。
完成了百分之{small}。
今天打{digit}折，便宜了百分之{small}。
还有一半没有完成。
已经完成了一半。
一半是{food}，一半是{food}。
距离{place}还有{decimal}公里。
从{city}到{city}有{number}公里。
{decimal}加{decimal}等于多少？
今天是{date}。
今天是{date}，{weekday}。
{date}。
{date}{part}{clock}。
我的生日是{short_date}。
会议时间是{short_date}{part}{clock}。
明天是{short_date}。
今天是{short_date}。
现在是{part}{clock}。
现在是{clock}。
现在几点了？
今天星期几？
今天几号？
今天是{weekday}。
{when}{clock}{action}。
{when}{clock}在{place}{action}。
{city}{day}天气怎么样？
{day}{city}天气怎么样？
{day}{city}{weather}，气温{temperature}度。
{city}{day}{weather}，气温{temperature}度。
{day}{weather}，{advice}。
{day}{part}{weather}，{advice}。
{day}会下雨吗？
{city}{day}会下雪吗？
出门请带伞。
今天天气很好。
今天{weather}，最高气温{temperature}度，最低气温{temperature}度。
请打开{room}的{device}。
请关闭{room}的{device}。
打开{device}。
关掉{room}的{device}。
帮我打开{device}。
帮我关闭{room}{device}。
麻烦关掉{device}。
你好，请打开{room}的{device}。
把{room}的空调调到{degree}度。
把{room}的温度调到{degree}度。
把{level}调{up_down}一点。
把{room}的{device}打开。
把{room}的{device}关掉。
播放音乐。
播放{when}的新闻。
我想听故事。
我想听音乐。
来一首歌曲。
下一首。
上一首。
暂停播放。
停止播放。
继续播放。
从{city}到{city}要多长时间？
从{city}到{city}怎么走？
从这里到{place}有多远？
从{place}到{place}怎么走？
从{city}到{city}坐火车要{small}个小时。
我要订{measured}{day}去{city}的{ticket}。
我要买{measured}{when}去{city}的{ticket}。
我要取消{measured}{day}去{city}的{ticket}。
我要修改{day}去{city}的{ticket}。
我要去{city}。
我要去{place}。
请问{place}在哪里？
{place}在哪里？
{place}就在{direction}{direction}。
{place}就在{direction}。
就在{direction}。
就在{direction}{direction}。
提醒我{when}{clock}{action}。
提醒我{day}{part}{clock}{action}。
设置{part}{clock}的闹钟。
帮我设置{day}{part}{clock}的闹钟。
会议改到{day}{part}{clock}。
会议推迟到{when}{clock}。
会议{part}{clock}开始。
会议开始了。
会议结束了。
{day}的会议有{small}个人参加。
{day}有{digit}个会议。
您好，请问有什么可以帮您？
您好，请问您需要什么？
您好，请问您贵姓？
你好，请问您是哪位？
我想查一下我的订单。
我想查一下我的{item}。
我想问一下{item}的问题。
请稍等，我帮您查一下。
好的，请稍等。
谢谢，再见。
不客气，再见。
{thanks}。
{thanks}，{thanks}。
{thanks}，我知道了。
好的，我明白了。
好的，明天见。
好的，我马上来。
对不起，我{day}再{action}。
对不起，我没有听清楚，请再说一遍。
请再说一遍。
请问您的电话号码是多少？
您的订单已经发货了，请注意查收。
你叫什么名字？
我叫{person}。
我是{person}。
你好，我是{surname}{title}。
您好，我叫{person}。
大家好，我是{person}。
{part}好。
{part}好，{person}。
我今天很{feeling}。
{who}{day}很{feeling}。
{who}很{feeling}。
{who}不{feeling}。
{who}有点{feeling}。
{who}非常{feeling}。
我们一起去{place}吧。
我们一起{action}吧。
我们{day}一起去{place}{action}吧。
{who}想吃{food}。
{who}喜欢吃{food}。
{who}不想喝{food}。
{who}在买{food}和{food}。
{who}要买{food}、{food}和{food}。
我喜欢{food}、{food}、{food}。
{who}正在{action}。
{who}准备去{place}{action}。
{who}喜欢{action}。
{who}想去{city}旅行。
{who}会说{language}。
{who}正在学习{language}。
你喜欢{action}吗？
你想{action}吗？
你{when}能{action}吗？
你住在哪里？
你住在{city}吗？
{who}住在{city}。
他今年{age}岁。
{person}今年{age}岁。
{person}的电话是{phone}。
{person}的生日是{short_date}。
{person}的办公室是{code}。
因为{day}下雨，所以我们不去{place}。
因为{day}{weather}，所以{who}不去{place}。
因为{who}很{feeling}，所以没有去{place}。
如果{day}有时间，我们一起{action}吧。
如果{day}下雨，我们就在家里{action}。
如果{day}{weather}，我们就不去{place}了，好吗？
{person}说{day}要{action}，但是他很忙。
{person}说{day}要{action}，但是他没有时间。
虽然{day}{weather}，但是{who}还要{action}。
给{person}打电话。
给{person}发短信。
给{person}发邮件。
请把{item}发给{person}。
请把{item}交给{person}。
{item}在{place}，请检查一下。
{item}在{place}，还没有收到。
请尽快处理。
大家好，现在开始开会。
现在开始{action}。
第{ordinal}个问题是什么？
第{ordinal}个问题。
这是第{ordinal}次会议。
第{ordinal}，{item}已经发给{person}了。
我没有问题。
我有一个问题。
还有问题吗？
大家还有什么问题吗？
今天的会议就到这里。
公司有{number}名员工。
公司有{number}个人。
这个月一共卖了{number}台{device}。
欢迎使用{system}。
{system}测试开始。
{system}测试结束。
{system}正在工作。
语音识别测试开始。
语音识别测试结束。
语音识别结果正常。
""".split("\n")
PATTERNS = [p for p in PATTERNS if p]


def cardinal(n: int) -> str:
    """Returns the spoken form of 0 <= n < 100,000,000 (305 -> 三百零五, 2400 -> 两千四百, 15 -> 十五)."""
    if n >= 10_000:
        high, low = divmod(n, 10_000)
        tail = "" if low == 0 else ("零" if low < 1000 else "") + _below_10k(low)
        return ("两" if high == 2 else cardinal(high)) + "万" + tail
    return _below_10k(n)


def _below_10k(n: int) -> str:
    if n < 10:
        return DIGITS[n]
    if n < 20:
        return "十" + (DIGITS[n - 10] if n > 10 else "")
    text, pending_zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, unit)
        if digit:
            spoken = "两" if digit == 2 and unit >= 100 else DIGITS[digit]
            text += ("零" if pending_zero else "") + spoken + name
            pending_zero = False
        elif text:
            pending_zero = True
    return text


def _digits(rng: random.Random, low: int, high: int) -> str:
    return "".join(rng.choice(DIGITS) for _ in range(rng.randint(low, high)))


def _phone(rng: random.Random) -> str:
    number = "一" + rng.choice("三五七八九") + _digits(rng, 9, 9)
    if rng.random() < 0.3:
        number = _digits(rng, 7, 8)
    return number.replace("一", "幺") if rng.random() < 0.4 else number


def _number(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return cardinal(rng.randint(11, 99))
    if kind < 0.65:
        return cardinal(rng.randint(100, 999))
    if kind < 0.75:
        return cardinal(rng.randint(1, 9) * 1000 + rng.choice((0, 100, 200, 400, 500, 800)))
    if kind < 0.85:
        return cardinal(rng.randint(1000, 9999))
    if kind < 0.93:
        return cardinal(rng.choice((1, 2, 3, 5, 8, 10, 12, 50, 100, 120)) * 10_000)
    return cardinal(rng.randint(10_000, 99_999))


def _money(rng: random.Random) -> str:
    amount = _number(rng)
    kind = rng.random()
    if kind < 0.4:
        return amount + "元"
    if kind < 0.7:
        return amount + rng.choice(("块钱", "块"))
    if kind < 0.85:
        return amount + "元" + DIGITS[rng.randint(1, 9)] + "角" + rng.choice(("", DIGITS[rng.randint(1, 9)] + "分"))
    return amount + "块" + DIGITS[rng.randint(1, 9)]


def _year(rng: random.Random) -> str:
    return rng.choice(("二零", "二零", "二零", "一九")) + _digits(rng, 2, 2) + "年"


def _short_date(rng: random.Random) -> str:
    return cardinal(rng.randint(1, 12)) + "月" + cardinal(rng.randint(1, 31)) + rng.choice("日号")


def _clock(rng: random.Random) -> str:
    hour = rng.randint(1, 12)
    text = ("两" if hour == 2 else cardinal(hour)) + "点"
    kind = rng.random()
    if kind < 0.25:
        return text
    if kind < 0.5:
        return text + "半"
    if kind < 0.6:
        return text + "整"
    minute = rng.randint(10, 59)
    return text + cardinal(minute) + ("分" if kind < 0.9 else "")


def _temperature(rng: random.Random) -> str:
    return rng.choice(("", "", "零下")) + cardinal(rng.randint(1, 38))


_GENERATORS: dict[str, Callable[[random.Random], str]] = {
    "digit": lambda r: DIGITS[r.randint(1, 9)],
    "digits": lambda r: _digits(r, 3, 11),
    "phone": _phone,
    "code": lambda r: _digits(r, 4, 6),
    "order": lambda r: _digits(r, 5, 9),
    "number": _number,
    "small": lambda r: cardinal(r.randint(2, 99)),
    "money": _money,
    "decimal": lambda r: cardinal(r.randint(0, 99)) + "点" + _digits(r, 1, 2),
    "date": lambda r: _year(r) + _short_date(r),
    "short_date": _short_date,
    "clock": _clock,
    "temperature": _temperature,
    "degree": lambda r: cardinal(r.randint(16, 30)),
    "ordinal": lambda r: cardinal(r.randint(1, 99)),
    "age": lambda r: cardinal(r.randint(3, 90)),
}
_SLOT = re.compile(r"\{(\w+)\}")


def _fill(pattern: str, rng: random.Random) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in _GENERATORS:
            return _GENERATORS[name](rng)
        return _fill(rng.choice(SLOTS[name]), rng)

    return _SLOT.sub(value, pattern)


def draw_sentence(rng: random.Random) -> str:
    """Draws one punctuated sentence of the domain."""
    return _fill(rng.choice(PATTERNS), rng)


def draw_word_salad(rng: random.Random) -> str:
    """Draws slot words in any order: teaches the recogniser the words apart from their usual neighbours."""
    names = [*SLOTS, "number", "clock", "digits", "short_date"]
    return "".join(_fill("{%s}" % rng.choice(names), rng) for _ in range(rng.randint(1, 4))) + "。"


def strip_punctuation(text: str) -> str:
    """Keeps the characters that are spoken."""
    return "".join(c for c in text if c not in PUNCTUATION)


def is_held_out(text: str) -> bool:
    """Says whether a sentence is reserved for evaluation (5 % of all, stable across runs).

    Sentences without a slot are not: some of their characters occur nowhere else.
    """
    spoken = strip_punctuation(text)
    return spoken not in _WITHOUT_SLOTS and hashlib.md5(spoken.encode()).digest()[0] < 13


def draw_held_out_sentence(rng: random.Random) -> str:
    """Draws a sentence that is reserved for evaluation."""
    while not is_held_out(text := draw_sentence(rng)):
        pass
    return text


_WITHOUT_SLOTS = {strip_punctuation(p) for p in PATTERNS if "{" not in p} | {
    strip_punctuation(text) for text in (*SHORT_ANSWERS, *SLOTS["thanks"])
}


def characters() -> list[str]:
    """Returns every character the domain can speak, sorted."""
    text = "".join(PATTERNS) + "".join(w for words in SLOTS.values() for w in words) + "".join(SHORT_ANSWERS)
    text = _SLOT.sub("", text) + DIGITS + "幺十百千万点半整分年月日号元块角钱零下两"
    return sorted(set(strip_punctuation(text)))


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    print(f"{len(PATTERNS)} patterns, {len(characters())} characters")
    for _ in range(arguments.count):
        print(draw_sentence(generator))
