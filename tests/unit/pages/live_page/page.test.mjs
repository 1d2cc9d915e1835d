import assert from "node:assert/strict";
import { test } from "node:test";

import { parseHotwords } from "../../../../service/web/live/hotwords.js";
import { Latency, median } from "../../../../service/web/live/latency.js";
import { toSrt } from "../../../../service/web/live/subtitles.js";
import { LANGUAGES, keysOf } from "../../../../service/web/live/texts.js";
import { Transcript, clockTime } from "../../../../service/web/live/transcript.js";

test("both languages say the same things", () => {
  const [first, ...others] = LANGUAGES;
  for (const language of others) assert.deepEqual(keysOf(language).sort(), keysOf(first).sort());
});

test("hotwords: separated by anything, with or without weights", () => {
  const words = (text) => parseHotwords(text).map(({ word, weight }) => `${word} ${weight}`);
  assert.deepEqual(words("阿里巴巴 20，通义\n千问 100"), ["阿里巴巴 20", "通义 10", "千问 100"]);
  assert.deepEqual(words("12306 5 3"), ["12306 5", "3 10"]);
  assert.deepEqual(words("   "), []);
});

test("latency is the time since the chunk with that sound was sent", () => {
  let now = 1000;
  const latency = new Latency(() => now);
  for (; now < 1500; now += 100) latency.sent(50);
  assert.equal(latency.audioMs, 250);
  assert.equal(latency.since(51), 1500 - 1100);
  assert.equal(latency.since(50), 1500 - 1000);
  assert.equal(latency.since(9999), 1500 - 1400);
  assert.equal(latency.since(undefined), null);
});

test("the median is of the middle", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1]), 2.5);
  assert.equal(median([]), null);
});

test("times run on from one recording to the next", () => {
  const transcript = new Transcript();
  transcript.final({ id: 1, text: "一。", beginMs: 100, endMs: 900 });
  transcript.endRecording(2000);
  transcript.partial({ id: 1, text: "二", beginMs: 300 });
  const second = transcript.final({ id: 1, text: "二。", endMs: 1000 });
  assert.deepEqual(second, { text: "二。", beginMs: 2300, endMs: 3000, unfinished: false });
  assert.equal(transcript.text, "一。\n二。");
});

test("a sentence without words leaves nothing; one that was cut off stays as far as it came", () => {
  const transcript = new Transcript();
  transcript.partial({ id: 1, text: "嗯", beginMs: 0 });
  assert.equal(transcript.final({ id: 1, text: " ", endMs: 10 }), null);
  transcript.partial({ id: 2, text: "还没", beginMs: 500 });
  transcript.partial({ id: 3, text: "", beginMs: 700 });
  assert.deepEqual(transcript.endRecording(1000).map(({ text, unfinished }) => [text, unfinished]), [["还没", true]]);
  assert.equal(transcript.partials.size, 0);
});

test("subtitles: numbered, in order, none longer than it may be, none over the next", () => {
  const srt = toSrt([
    { text: "好。", beginMs: 330, endMs: 3_725_042 },
    { text: "一二三四五六七八九十一二三四五六七八九十，一二三四五六七八九十一二三四五六七八九十。", beginMs: 3_725_000, endMs: null },
  ]);
  assert.equal(
    srt,
    "1\n00:00:00,330 --> 01:02:05,000\n好。\n\n" +
      "2\n01:02:05,000 --> 01:02:09,200\n一二三四五六七八九十一二三四五六七八九十，\n\n" +
      "3\n01:02:09,200 --> 01:02:13,400\n一二三四五六七八九十一二三四五六七八九十。\n",
  );
});

test("clock times", () => {
  assert.equal(clockTime(0), "00:00.0");
  assert.equal(clockTime(65_430), "01:05.4");
  assert.equal(clockTime(3_725_400), "01:02:05.4");
});
