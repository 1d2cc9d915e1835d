/** OpenAI's Realtime API as a transcription session. */

import { LiveError } from "../failures.js";
import { Session } from "./session.js";

export class OpenaiSession extends Session {
  static path = "v1/realtime?intent=transcription";
  static sampleRate = 24000;
  static choosesModel = true;
  static tellsPartialTimes = false;

  #items = new Map(); // item id: what is known of a sentence that is not final yet
  #settings;
  #padding = { before: 0, after: 0 }; // ms that the server's turns are longer than the speech in them
  #stopping = false;
  #allTaken = false;

  constructor(address, { model, hotwords }, listeners, options) {
    super(address, listeners, options);
    const transcription = { model: model || "whisper-1" }; // any whisper-* means the server's default
    if (hotwords.length) transcription.keywords = hotwords.map(({ word }) => word);
    this.#settings = {
      type: "transcription",
      audio: {
        input: {
          format: { type: "audio/pcm", rate: OpenaiSession.sampleRate },
          transcription,
          turn_detection: { type: "server_vad" },
        },
      },
    };
  }

  opened() {} // the server speaks first

  received(message) {
    const { item_id: id } = message;
    switch (message.type) {
      case "session.created":
        return this.transmit(JSON.stringify({ type: "session.update", session: this.#settings }));
      case "session.updated": {
        const turns = message.session?.audio?.input?.turn_detection;
        this.#padding = { before: turns?.prefix_padding_ms ?? 0, after: turns?.silence_duration_ms ?? 0 };
        return this.becomeReady();
      }
      case "input_audio_buffer.speech_started":
        this.#item(id).beginMs = message.audio_start_ms + this.#padding.before;
        return this.#tell(id);
      case "input_audio_buffer.speech_stopped":
        this.#item(id).endMs = message.audio_end_ms - this.#padding.after;
        return undefined;
      case "input_audio_buffer.committed":
        this.#item(id); // its text is still to come
        return undefined;
      case "input_audio_buffer.cleared":
        this.#allTaken = true;
        return this.#completeIfAllIsTold();
      case "conversation.item.input_audio_transcription.delta":
        this.#item(id).text += message.delta;
        return this.#tell(id);
      case "conversation.item.input_audio_transcription.completed": {
        const { beginMs, endMs } = this.#item(id);
        this.#items.delete(id);
        this.listeners.final({ id, text: message.transcript, beginMs, endMs });
        return this.#completeIfAllIsTold();
      }
      case "conversation.item.input_audio_transcription.failed":
        return this.fail(new LiveError("failed", message.error?.message ?? ""));
      case "error":
        return this.#wrong(message.error ?? {});
    }
  }

  send(pcm) {
    const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
    this.transmit(JSON.stringify({ type: "input_audio_buffer.append", audio: btoa(String.fromCharCode(...bytes)) }));
  }

  finish() {
    this.#stopping = true;
    this.transmit(JSON.stringify({ type: "input_audio_buffer.commit" }));
    // A commit has one answer or another, and those of earlier turns look the same; this one's comes after them all.
    this.transmit(JSON.stringify({ type: "input_audio_buffer.clear" }));
  }

  #item(id) {
    if (!this.#items.has(id)) this.#items.set(id, { text: "" });
    return this.#items.get(id);
  }

  #tell(id) {
    const { text, beginMs } = this.#item(id);
    this.listeners.partial({ id, text, beginMs });
  }

  #wrong({ code, message = "" }) {
    if (this.#stopping && code === "input_audio_buffer_commit_empty") return; // the last turn had ended before
    this.fail(new LiveError(code === "invalid_api_key" ? "key-refused" : "failed", message));
  }

  #completeIfAllIsTold() {
    if (this.#allTaken && this.#items.size === 0) this.complete();
  }
}
