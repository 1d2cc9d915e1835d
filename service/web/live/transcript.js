/** What was said so far: final sentences, and those that may still change. Times run on from one recording to the next. */

export class Transcript {
  finals = []; // { text, beginMs, endMs, unfinished }
  partials = new Map(); // sentence id: { text, beginMs }
  #offsetMs = 0;

  get isEmpty() {
    return this.finals.length === 0;
  }

  partial({ id, text, beginMs }) {
    const known = this.partials.get(id);
    this.partials.set(id, { text, beginMs: beginMs === undefined ? known?.beginMs : this.#offsetMs + beginMs });
  }

  /** The sentence as it stays, or null when there were no words in it. */
  final({ id, text, beginMs, endMs }) {
    const known = this.partials.get(id);
    this.partials.delete(id);
    if (!text.trim()) return null;
    const begin = beginMs === undefined ? (known?.beginMs ?? this.#lastMs()) : this.#offsetMs + beginMs;
    return this.#keep({ text, beginMs: begin, endMs: endMs === undefined ? null : this.#offsetMs + endMs, unfinished: false });
  }

  /** The recording has ended after `audioMs`. What never became final stays as it is: the sentences that it adds. */
  endRecording(audioMs) {
    const kept = [...this.partials.values()]
      .filter(({ text }) => text.trim())
      .map(({ text, beginMs }) => this.#keep({ text, beginMs: beginMs ?? this.#lastMs(), endMs: null, unfinished: true }));
    this.partials.clear();
    this.#offsetMs += audioMs;
    return kept;
  }

  clear() {
    this.finals = [];
    this.partials.clear();
    this.#offsetMs = 0;
  }

  get text() {
    return this.finals.map(({ text }) => text).join("\n");
  }

  #keep(sentence) {
    this.finals.push(sentence);
    return sentence;
  }

  #lastMs() {
    const last = this.finals.at(-1);
    return last ? (last.endMs ?? last.beginMs) : this.#offsetMs;
  }
}

/** 3725400 is 01:02:05.4; hours only where there are some. */
export function clockTime(ms) {
  const tenths = Math.floor(ms / 100);
  const parts = [Math.floor(tenths / 600) % 60, Math.floor(tenths / 10) % 60];
  const hours = Math.floor(tenths / 36000);
  if (hours) parts.unshift(hours);
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${tenths % 10}`;
}
