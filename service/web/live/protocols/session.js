/**
 * What the live protocols have in common, as a client sees them.
 *
 * A session connects when it is made. `ready` resolves when audio may be sent; `completed` when everything that was
 * sent has been answered after `stop()`, and both reject with a LiveError when something fails. It calls
 *   listeners.partial({ id, text, beginMs?, audioMs? })  the sentence so far; audioMs: how far the audio had come
 *   listeners.final({ id, text, beginMs?, endMs? })      an empty text: it was nothing after all
 * with times in milliseconds of the session's audio, and without those that a protocol doesn't tell.
 */

import { LiveError } from "../failures.js";

const COMPLETION_LIMIT_MS = 30_000;

export class Session {
  #socket;
  #opened = false;
  #settled = false;
  #resolve = {};
  #reject = {};

  constructor(address, listeners, { subprotocols = [], WebSocketClass = WebSocket } = {}) {
    this.listeners = listeners;
    this.ready = this.#promise("ready");
    this.completed = this.#promise("completed");
    this.#socket = new WebSocketClass(address, subprotocols);
    this.#socket.onopen = () => {
      this.#opened = true;
      this.opened();
    };
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  /** Bytes that wait to be sent. */
  get backlogBytes() {
    return this.#socket.bufferedAmount;
  }

  /** Asks for what is still to come; resolves once all of it has been told. */
  stop() {
    this.finish();
    const limit = setTimeout(() => this.fail(new LiveError("no-completion")), COMPLETION_LIMIT_MS);
    return this.completed.finally(() => clearTimeout(limit));
  }

  /** Leaves without waiting for anything. */
  leave() {
    this.complete();
  }

  // What a protocol fills in: opened(), received(message), send(pcm), finish().

  transmit(data) {
    // After the other side has closed there is nobody to send to; `completed` says why.
    if (!this.#settled && this.#socket.readyState === 1) this.#socket.send(data);
  }

  becomeReady() {
    this.#resolve.ready();
  }

  complete() {
    this.#settle(() => {
      this.#resolve.ready();
      this.#resolve.completed();
    });
  }

  fail(error) {
    this.#settle(() => {
      this.#reject.ready(error);
      this.#reject.completed(error);
    });
  }

  /** The other side has closed. */
  closed(_code, reason) {
    if (!this.#opened) this.fail(new LiveError("not-connected"));
    else this.fail(reason ? new LiveError("failed", reason) : new LiveError("closed"));
  }

  #received(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.fail(new LiveError("not-understood", String(data).slice(0, 200)));
      return;
    }
    if (!this.#settled) this.received(message);
  }

  #settle(how) {
    if (this.#settled) return;
    this.#settled = true;
    how();
    this.#socket.close(1000);
  }

  #promise(name) {
    const promise = new Promise((resolve, reject) => {
      this.#resolve[name] = resolve;
      this.#reject[name] = reject;
    });
    promise.catch(() => {}); // whoever waits for the other one hears of it
    return promise;
  }
}
