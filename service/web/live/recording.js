/** One recording: sound from the microphone or a file, into one live session, until it is stopped. */

import { decodeFile, streamPcm } from "./audio/file.js";
import { openMicrophone } from "./audio/microphone.js";
import { LiveError } from "./failures.js";
import { addressOf } from "./protocols/index.js";

const CHUNK_S = 0.05;

export class Recording {
  #protocol;
  #plan;
  #listeners;
  #stop = new AbortController();
  #waiting = []; // heard before the server was ready

  /**
   * plan: { protocol, base, token, model, hotwords, source: "microphone" | "file", cleanUp, file, pace }
   * listeners: partial, final (see protocols/session.js), state(name), chunk(Int16Array) for each chunk sent,
   * heard(Int16Array) for each chunk of the source, warn(LiveError)
   */
  constructor(plan, listeners) {
    this.#protocol = plan.protocol;
    this.#plan = plan;
    this.#listeners = listeners;
  }

  stop() {
    this.#stop.abort();
  }

  /** Runs to the end: every word has come. @throws {LiveError} */
  async run() {
    this.#listeners.state("connecting");
    const source = this.#plan.source === "microphone" ? await this.#microphone() : await this.#file();
    let session;
    try {
      if (this.#stop.signal.aborted) return;
      session = this.#connect();
      await Promise.race([session.ready, aborted(this.#stop.signal)]);
      if (this.#stop.signal.aborted) return; // given up while it was connecting
      this.#flow(session);
      this.#listeners.state("live");
      await Promise.race([source.ended(session), session.completed]); // the session's failure ends it as well
      this.#listeners.state("finishing");
      await source.close();
      await session.stop();
    } finally {
      await source.close();
      session?.leave();
    }
  }

  #connect() {
    const { base, token, model, hotwords } = this.#plan;
    const address = addressOf(this.#protocol, base, token);
    return new this.#protocol(address, { model, hotwords }, this.#listeners);
  }

  /** From now on what is heard is sent, first of all what has been waiting. */
  #flow(session) {
    this.#send = (pcm) => {
      session.send(pcm);
      this.#listeners.chunk(pcm);
    };
    for (const pcm of this.#waiting.splice(0)) this.#send(pcm);
  }

  #send = (pcm) => this.#waiting.push(pcm);

  #heard = (pcm) => {
    this.#listeners.heard(pcm);
    this.#send(pcm);
  };

  async #microphone() {
    const { sampleRate } = this.#protocol;
    const microphone = await openMicrophone({
      sampleRate,
      chunkSamples: sampleRate * CHUNK_S,
      cleanUp: this.#plan.cleanUp,
      onChunk: this.#heard,
      onLost: () => {
        this.#listeners.warn(new LiveError("microphone-lost"));
        this.stop();
      },
    });
    let closing;
    return {
      ended: () => aborted(this.#stop.signal),
      close: () => (closing ??= microphone.stop()),
    };
  }

  async #file() {
    const { file, pace } = this.#plan;
    if (!file) throw new LiveError("file-missing");
    const { sampleRate } = this.#protocol;
    const pcm = await decodeFile(file, sampleRate);
    return {
      ended: (session) =>
        streamPcm(pcm, {
          sampleRate,
          chunkSamples: sampleRate * CHUNK_S,
          pace,
          onChunk: this.#heard,
          backlogBytes: () => session.backlogBytes,
          signal: this.#stop.signal,
        }),
      close: async () => this.stop(), // of a session that failed while the file was being sent
    };
  }
}

function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
