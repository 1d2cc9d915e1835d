import assert from "node:assert/strict";
import { test } from "node:test";

import { streamPcm } from "../../../../service/web/live/audio/file.js";
import { loudestRms, toDbfs } from "../../../../service/web/live/audio/level.js";
import { Resampler, toPcm16 } from "../../../../service/web/live/audio/resampler.js";

const tone = (hz, rate, seconds) => Float32Array.from({ length: rate * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate));

function resampled(input, from, to, block = 128) {
  const resampler = new Resampler(from, to);
  const output = [];
  for (let at = 0; at < input.length; at += block) output.push(...resampler.push(input.subarray(at, at + block)));
  output.push(...resampler.flush());
  return output;
}

const rms = (samples) => Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);

for (const [from, to] of [[48000, 16000], [44100, 16000], [48000, 24000], [16000, 24000], [16000, 16000], [22050, 16000]]) {
  test(`${from} to ${to} Hz: a tone stays what it is, in length, place and level`, () => {
    const output = resampled(tone(1000, from, 0.5), from, to);
    const wanted = tone(1000, to, 0.5);
    assert.ok(Math.abs(output.length - wanted.length) <= 2, `${output.length} samples`);
    const middle = [...wanted.keys()].slice(500, -500);
    assert.ok(rms(middle.map((i) => output[i] - wanted[i])) < 0.001);
  });
}

test("what 16 kHz can't hold is taken out, not folded back", () => {
  assert.ok(rms(resampled(tone(10000, 48000, 0.5), 48000, 16000).slice(200, -200)) < 0.001);
});

test("the size of the blocks makes no difference", () => {
  const input = tone(440, 44100, 0.2);
  assert.deepEqual(resampled(input, 44100, 16000, 128), resampled(input, 44100, 16000, 1000));
});

test("what is too loud is clipped, not wrapped", () => {
  assert.deepEqual([...toPcm16([2, -2, 0.5, 0])], [32767, -32767, 16384, 0]);
});

test("the level is that of the loudest 20 ms", () => {
  const pcm = new Int16Array(800);
  pcm.fill(16384, 320, 640);
  assert.equal(loudestRms(pcm, 16000), 0.5);
  assert.equal(loudestRms(new Int16Array(0), 16000), 0);
});

test("0.01 is -40 dBFS, and silence has a bottom", () => {
  assert.equal(toDbfs(0.01), -40);
  assert.equal(toDbfs(0), -60);
});

const STREAM = { sampleRate: 16000, chunkSamples: 800, pace: 0, backlogBytes: () => 0 };

test("a file is sent to its last sample", async () => {
  const chunks = [];
  await streamPcm(Int16Array.from({ length: 2000 }, (_, i) => i), {
    ...STREAM,
    onChunk: (chunk) => chunks.push(...chunk),
    signal: new AbortController().signal,
  });
  assert.deepEqual(chunks, [...Array(2000).keys()]);
});

test("a file that is stopped sends no more", async () => {
  const stop = new AbortController();
  let chunks = 0;
  await streamPcm(new Int16Array(80000), {
    ...STREAM,
    onChunk: () => {
      if (++chunks === 3) stop.abort();
    },
    signal: stop.signal,
  });
  assert.equal(chunks, 3);
});
