/** Qwen3-ASR's streaming protocol. */

import { LiveError } from "../failures.js";
import { Session } from "./session.js";

export class QwenSession extends Session {
  static path = "ws/v1/asr/qwen";
  static sampleRate = 16000;
  static choosesModel = true;
  static tellsPartialTimes = false;

  #start;
  #told = 0; // segments whose final text is known

  constructor(address, { model, hotwords }, listeners, options) {
    super(address, listeners, options);
    this.#start = {
      format: "pcm",
      sample_rate: QwenSession.sampleRate,
      chunk_size_sec: 0.6,
      word_timestamps: true,
      context: hotwords.map(({ word }) => word).join(" "), // it knows no weights
    };
    if (model) this.#start.model = model;
  }

  opened() {
    this.transmit(JSON.stringify({ type: "start", payload: this.#start }));
  }

  received(message) {
    switch (message.type) {
      case "started":
        return this.becomeReady();
      case "result": {
        const { segment_index: id, current_segment_text: text } = message.results[0];
        return text ? this.listeners.partial({ id, text }) : this.listeners.final({ id, text });
      }
      case "segment_end":
        return this.#final({ ...message.result, text: message.result.segment_text });
      case "final":
        message.result.segments.slice(this.#told).forEach((segment) => this.#final(segment));
        return this.complete();
      case "error": {
        const refused = message.error_code === "AUTHENTICATION_FAILED";
        return this.fail(new LiveError(refused ? "key-refused" : "failed", message.message ?? ""));
      }
    }
  }

  send(pcm) {
    this.transmit(pcm);
  }

  finish() {
    this.transmit(JSON.stringify({ type: "stop" }));
  }

  #final({ text, words = [] }) {
    const [beginMs, endMs] = [words[0]?.start_time, words.at(-1)?.end_time].map((s) => s && Math.round(1000 * s));
    this.listeners.final({ id: this.#told, text, beginMs, endMs });
    this.#told += 1;
  }
}
