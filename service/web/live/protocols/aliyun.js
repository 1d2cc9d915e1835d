/** Alibaba Cloud's SpeechTranscriber over WebSocket. */

import { LiveError } from "../failures.js";
import { Session } from "./session.js";

const NAMESPACE = "SpeechTranscriber";
const WRONG_KEY = 40000001;

export class AliyunSession extends Session {
  static path = "ws/v1/asr";
  static sampleRate = 16000;
  static choosesModel = true;
  static tellsPartialTimes = true;

  #taskId = newId();
  #begins = new Map();
  #payload;

  constructor(address, { model, hotwords }, listeners, options) {
    super(address, listeners, options);
    this.#payload = {
      format: "pcm",
      sample_rate: AliyunSession.sampleRate,
      enable_intermediate_result: true,
      enable_punctuation_prediction: true,
      enable_inverse_text_normalization: true,
    };
    if (model) this.#payload.model_id = model;
    if (hotwords.length) this.#payload.vocabulary_id = hotwords.map(({ word, weight }) => `${word} ${weight}`).join(" ");
  }

  opened() {
    this.#direct("StartTranscription", this.#payload);
  }

  received({ header = {}, payload = {} }) {
    const { index: id } = payload;
    switch (header.name) {
      case "TranscriptionStarted":
        return this.becomeReady();
      case "SentenceBegin":
        this.#begins.set(id, payload.time);
        return this.listeners.partial({ id, text: "", beginMs: payload.time });
      case "TranscriptionResultChanged":
        return this.listeners.partial({
          id,
          text: payload.result,
          beginMs: this.#begins.get(id),
          audioMs: payload.time,
        });
      case "SentenceEnd":
        return this.listeners.final({
          id,
          text: payload.result,
          beginMs: payload.begin_time ?? this.#begins.get(id),
          endMs: payload.time,
        });
      case "TranscriptionCompleted":
        return this.complete();
      case "TaskFailed": {
        const said = header.status_message || header.status_text || String(header.status);
        return this.fail(new LiveError(header.status === WRONG_KEY ? "key-refused" : "failed", said));
      }
    }
  }

  send(pcm) {
    this.transmit(pcm);
  }

  finish() {
    this.#direct("StopTranscription");
  }

  #direct(name, payload) {
    const header = { message_id: newId(), task_id: this.#taskId, namespace: NAMESPACE, name, appkey: "live-page" };
    this.transmit(JSON.stringify(payload ? { header, payload } : { header }));
  }
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
