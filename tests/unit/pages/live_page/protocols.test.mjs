import assert from "node:assert/strict";
import { test } from "node:test";

import { AliyunSession } from "../../../../service/web/live/protocols/aliyun.js";
import { FunasrSession } from "../../../../service/web/live/protocols/funasr.js";
import { PROTOCOLS, addressOf } from "../../../../service/web/live/protocols/index.js";
import { OpenaiSession } from "../../../../service/web/live/protocols/openai.js";
import { QwenSession } from "../../../../service/web/live/protocols/qwen.js";
import { FakeSocket, converse } from "./fake_socket.mjs";

const HOTWORDS = [
  { word: "阿里巴巴", weight: 20 },
  { word: "通义", weight: 10 },
];

const isPending = async (promise) => {
  const pending = Symbol("pending");
  return (await Promise.race([promise, Promise.resolve(pending)])) === pending;
};

test("an address is below the service's own and holds the key", () => {
  assert.equal(addressOf(AliyunSession, "https://host/asr/", "a&b"), "wss://host/asr/ws/v1/asr?token=a%26b");
  assert.equal(addressOf(OpenaiSession, "http://host:1/"), "ws://host:1/v1/realtime?intent=transcription");
});

for (const [name, Protocol] of Object.entries(PROTOCOLS)) {
  test(`${name}: a connection that is not accepted fails as not connected`, async () => {
    const session = new Protocol("ws://host", { hotwords: [] }, {}, { WebSocketClass: FakeSocket });
    FakeSocket.last.drop();
    await assert.rejects(session.ready, { kind: "not-connected" });
    await assert.rejects(session.completed, { kind: "not-connected" });
  });

  test(`${name}: a connection that is lost fails, even while it stops`, async () => {
    const { session, socket } = converse(Protocol);
    const stopped = session.stop();
    socket.drop();
    await assert.rejects(stopped, { kind: "closed" });
  });

  test(`${name}: what the server says when it closes is passed on`, async () => {
    const { session, socket } = converse(Protocol);
    socket.drop(1013, "too many sessions");
    await assert.rejects(session.completed, { kind: "failed", detail: "too many sessions" });
  });

  test(`${name}: what is no JSON fails`, async () => {
    const { session, socket } = converse(Protocol);
    socket.tell("<html>");
    await assert.rejects(session.completed, { kind: "not-understood", detail: "<html>" });
    assert.equal(socket.closedWith, 1000);
  });

  test(`${name}: after leaving, nothing is sent and nothing fails`, async () => {
    const { session, socket } = converse(Protocol);
    const before = socket.sent.length;
    session.leave();
    session.send(new Int16Array(8));
    await session.completed;
    assert.equal(socket.sent.length, before);
  });
}

const aliyun = (name, payload = {}, header = {}) => ({ header: { name, status: 20000000, ...header }, payload });

test("aliyun: starts with ids of 32 hex digits, hotwords with weights, and the model where one is chosen", async () => {
  const { session, socket } = converse(AliyunSession, { model: "paraformer-large", hotwords: HOTWORDS });
  const [{ header, payload }] = socket.sent;
  assert.equal(header.name, "StartTranscription");
  assert.equal(header.namespace, "SpeechTranscriber");
  assert.match(header.task_id, /^[0-9a-f]{32}$/);
  assert.match(header.message_id, /^[0-9a-f]{32}$/);
  assert.equal(payload.vocabulary_id, "阿里巴巴 20 通义 10");
  assert.equal(payload.model_id, "paraformer-large");
  assert.equal(payload.sample_rate, 16000);
  assert.ok(await isPending(session.ready));
  socket.tell(aliyun("TranscriptionStarted"));
  await session.ready;
});

test("aliyun: a sentence grows and ends, its times as told", () => {
  const { socket, heard } = converse(AliyunSession);
  socket.tell(
    aliyun("SentenceBegin", { index: 1, time: 320 }),
    aliyun("TranscriptionResultChanged", { index: 1, time: 900, result: "今天" }),
    aliyun("SentenceEnd", { index: 1, time: 2400, begin_time: 330, result: "今天。" }),
  );
  assert.deepEqual(heard.partials.at(-1), { id: 1, text: "今天", beginMs: 320, audioMs: 900 });
  assert.deepEqual(heard.finals, [{ id: 1, text: "今天。", beginMs: 330, endMs: 2400 }]);
});

test("aliyun: a stop carries the task's id and no payload, and waits for Completed", async () => {
  const { session, socket, heard } = converse(AliyunSession);
  const stopped = session.stop();
  const [start, stop] = socket.sent;
  assert.equal(stop.header.name, "StopTranscription");
  assert.equal(stop.header.task_id, start.header.task_id);
  assert.ok(!("payload" in stop));
  socket.tell(aliyun("SentenceEnd", { index: 1, time: 5, begin_time: 1, result: "好。" }));
  assert.ok(await isPending(stopped));
  socket.tell(aliyun("TranscriptionCompleted"));
  await stopped;
  assert.equal(heard.finals.length, 1);
  assert.equal(socket.closedWith, 1000);
});

test("aliyun: a failed task is told in the server's words; a wrong key is known as such", async () => {
  for (const [status, kind] of [[40000003, "failed"], [40000001, "key-refused"]]) {
    const { session, socket } = converse(AliyunSession);
    socket.tell(aliyun("TaskFailed", {}, { status, status_message: "no good" }));
    await assert.rejects(session.completed, { kind, detail: "no good" });
  }
});

test("funasr: offers the subprotocol, says its parameters first and may send at once", async () => {
  const { session, socket } = converse(FunasrSession, { hotwords: HOTWORDS });
  await session.ready;
  assert.deepEqual(socket.subprotocols, ["binary"]);
  const [first] = socket.sent;
  assert.equal(first.mode, "2pass");
  assert.deepEqual(JSON.parse(first.hotwords), { 阿里巴巴: 20, 通义: 10 });
});

test("funasr: online text is added up, offline text replaces it and begins the next sentence", () => {
  const { socket, heard } = converse(FunasrSession);
  socket.tell(
    { mode: "2pass-online", text: "今" },
    { mode: "2pass-online", text: "天" },
    { mode: "2pass-offline", text: "今天。", timestamp: "[[400,600],[600,800]]" },
    { mode: "2pass-online", text: "好" },
  );
  assert.deepEqual(heard.partials.map(({ id, text }) => [id, text]), [[1, "今"], [1, "今天"], [2, "好"]]);
  assert.deepEqual(heard.finals, [{ id: 1, text: "今天。", beginMs: 400, endMs: 800 }]);
});

test("funasr: completes at the acknowledgement, or when a server without one closes", async () => {
  for (const end of [(socket) => socket.tell({ mode: "2pass", is_final: true, is_end: true }), (socket) => socket.drop(1000)]) {
    const { session, socket } = converse(FunasrSession);
    const stopped = session.stop();
    assert.deepEqual(socket.sent.at(-1), { is_speaking: false, is_end: true });
    end(socket);
    await stopped;
  }
});

test("funasr: an end with an error is a failure", async () => {
  const { session, socket } = converse(FunasrSession);
  socket.tell({ mode: "2pass", is_end: true, error: "too many sessions" });
  await assert.rejects(session.completed, { kind: "failed", detail: "too many sessions" });
});

const segment = (index, text) => ({
  index,
  text,
  segment_text: text,
  words: [
    { text: text[0], start_time: 0.4, end_time: 0.6 },
    { text: text[1], start_time: 0.6, end_time: 0.81 },
  ],
});
const grown = (index, text) => ({ type: "result", results: [{ segment_index: index, current_segment_text: text }] });

test("qwen: starts with its parameters, hotwords as context, and waits for the answer", async () => {
  const { session, socket } = converse(QwenSession, { hotwords: HOTWORDS, model: "qwen3-asr-demo" });
  const [{ type, payload }] = socket.sent;
  assert.equal(type, "start");
  assert.equal(payload.context, "阿里巴巴 通义");
  assert.equal(payload.model, "qwen3-asr-demo");
  assert.ok(await isPending(session.ready));
  socket.tell({ type: "started" });
  await session.ready;
});

test("qwen: a segment grows, ends, and the last one comes with the end of all", async () => {
  const { session, socket, heard } = converse(QwenSession);
  socket.tell(
    { type: "started" },
    grown(0, "今"),
    grown(0, "今天"),
    { type: "segment_end", segment_index: 0, result: { ...segment(0, "今天。"), text: "今天。" } },
    { type: "segment_start", segment_index: 1 },
    grown(1, "好"),
  );
  const stopped = session.stop();
  assert.deepEqual(socket.sent.at(-1), { type: "stop" });
  socket.tell({ type: "final", result: { segments: [segment(0, "今天。"), segment(1, "好的。")] } });
  await stopped;
  assert.deepEqual(heard.partials.map(({ id, text }) => [id, text]), [[0, "今"], [0, "今天"], [1, "好"]]);
  assert.deepEqual(heard.finals, [
    { id: 0, text: "今天。", beginMs: 400, endMs: 810 },
    { id: 1, text: "好的。", beginMs: 400, endMs: 810 },
  ]);
});

test("qwen: what was no speech after all goes away; errors are told", async () => {
  const { session, socket, heard } = converse(QwenSession);
  socket.tell({ type: "started" }, grown(0, "今"), grown(0, ""));
  assert.deepEqual(heard.finals, [{ id: 0, text: "" }]);
  socket.tell({ type: "error", error_code: "INVALID_PARAMETER", message: "no good" });
  await assert.rejects(session.completed, { kind: "failed", detail: "no good" });
});

const item = (type, id, more = {}) => ({ type: `conversation.item.input_audio_transcription.${type}`, item_id: id, ...more });
const buffer = (type, id, more = {}) => ({ type: `input_audio_buffer.${type}`, item_id: id, ...more });

function openai(wanted) {
  const conversation = converse(OpenaiSession, wanted);
  const turn_detection = { prefix_padding_ms: 300, silence_duration_ms: 500 };
  conversation.socket.tell(
    { type: "session.created", session: {} },
    { type: "session.updated", session: { audio: { input: { turn_detection } } } },
  );
  return conversation;
}

test("openai: configures the session before it is ready", async () => {
  const { session, socket } = openai({ model: "paraformer-large", hotwords: HOTWORDS });
  await session.ready;
  const [{ type, session: settings }] = socket.sent;
  assert.equal(type, "session.update");
  assert.deepEqual(settings.audio.input.format, { type: "audio/pcm", rate: 24000 });
  assert.deepEqual(settings.audio.input.transcription, { model: "paraformer-large", keywords: ["阿里巴巴", "通义"] });
});

test("openai: audio is sent as base64 of its bytes, whatever buffer they are in", () => {
  const { session, socket } = openai();
  session.send(Int16Array.from([9, 1, -2]).subarray(1));
  assert.deepEqual(socket.sent.at(-1), { type: "input_audio_buffer.append", audio: Buffer.from([1, 0, 254, 255]).toString("base64") });
});

test("openai: deltas are added up, the transcript replaces them, times are those of the speech", () => {
  const { socket, heard } = openai();
  socket.tell(
    buffer("speech_started", "a", { audio_start_ms: 100 }),
    item("delta", "a", { delta: "今" }),
    item("delta", "a", { delta: "天" }),
    buffer("speech_stopped", "a", { audio_end_ms: 2000 }),
    item("completed", "a", { transcript: "今天。" }),
  );
  assert.deepEqual(heard.partials.at(-1), { id: "a", text: "今天", beginMs: 400 });
  assert.deepEqual(heard.finals, [{ id: "a", text: "今天。", beginMs: 400, endMs: 1500 }]);
});

test("openai: a stop waits for every item, also of turns that had ended before", async () => {
  const { session, socket, heard } = openai();
  socket.tell(buffer("speech_started", "a", { audio_start_ms: 0 }));
  const stopped = session.stop();
  assert.deepEqual(socket.sent.slice(-2).map(({ type }) => type), ["input_audio_buffer.commit", "input_audio_buffer.clear"]);
  socket.tell(
    buffer("committed", "a"),
    item("completed", "a", { transcript: "一" }),
    buffer("speech_started", "b", { audio_start_ms: 900 }),
    buffer("committed", "b"),
    { type: "error", error: { code: "input_audio_buffer_commit_empty", message: "nothing" } },
    { type: "input_audio_buffer.cleared" },
  );
  assert.ok(await isPending(stopped));
  socket.tell(item("completed", "b", { transcript: "二" }));
  await stopped;
  assert.deepEqual(heard.finals.map(({ text }) => text), ["一", "二"]);
});

test("openai: errors are told", async () => {
  for (const message of [{ type: "error", error: { message: "no good" } }, item("failed", "a", { error: { message: "no good" } })]) {
    const { session, socket } = openai();
    socket.tell(message);
    await assert.rejects(session.completed, { kind: "failed", detail: "no good" });
  }
});
