/** FunASR's WebSocket protocol in its 2pass mode: text while one speaks, replaced at the end of each sentence. */

import { LiveError } from "../failures.js";
import { Session } from "./session.js";

export class FunasrSession extends Session {
  static path = "ws/v1/asr/funasr";
  static sampleRate = 16000;
  static choosesModel = false;
  static tellsPartialTimes = false;

  #sentence = 1; // sentences have no numbers of their own
  #online = "";
  #first;
  #stopping = false;

  constructor(address, { hotwords }, listeners, options) {
    super(address, listeners, { ...options, subprotocols: ["binary"] });
    this.#first = {
      mode: "2pass",
      chunk_size: [5, 10, 5],
      chunk_interval: 10,
      audio_fs: FunasrSession.sampleRate,
      wav_name: "live-page",
      wav_format: "pcm",
      is_speaking: true,
      itn: true,
      hotwords: hotwords.length
        ? JSON.stringify(Object.fromEntries(hotwords.map(({ word, weight }) => [word, weight])))
        : "",
    };
  }

  opened() {
    this.transmit(JSON.stringify(this.#first));
    this.becomeReady(); // the protocol has no answer to it
  }

  received(message) {
    const { mode, text = "" } = message;
    if (mode === "2pass-online" && text) {
      this.#online += text;
      this.listeners.partial({ id: this.#sentence, text: this.#online });
    } else if (mode === "2pass-offline") {
      const times = timesOf(message.timestamp);
      this.listeners.final({ id: this.#sentence, text, beginMs: times[0]?.[0], endMs: times.at(-1)?.[1] });
      this.#sentence += 1;
      this.#online = "";
    }
    if (message.error) this.fail(new LiveError("failed", message.error));
    else if (message.is_end) this.complete();
  }

  closed(code, reason) {
    // Servers without `is_end` say that they have done by closing.
    if (this.#stopping && code === 1000) this.complete();
    else super.closed(code, reason);
  }

  send(pcm) {
    this.transmit(pcm);
  }

  finish() {
    this.#stopping = true;
    this.transmit(JSON.stringify({ is_speaking: false, is_end: true }));
  }
}

/** `timestamp` is a JSON text of [[start_ms, end_ms], …]. */
function timesOf(timestamp) {
  try {
    const times = typeof timestamp === "string" ? JSON.parse(timestamp) : timestamp;
    return Array.isArray(times) ? times : [];
  } catch {
    return [];
  }
}
