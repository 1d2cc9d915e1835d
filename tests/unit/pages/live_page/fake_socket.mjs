/** A WebSocket whose other side is the test. */

export class FakeSocket {
  static last;
  readyState = 0;
  bufferedAmount = 0;
  sent = [];

  constructor(address, subprotocols) {
    Object.assign(this, { address, subprotocols });
    FakeSocket.last = this;
  }

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close(code) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.closedWith = code;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  tell(...messages) {
    for (const message of messages) this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

/** A session of `Protocol` on a FakeSocket that is open, and what its listeners heard. */
export function converse(Protocol, wanted = {}) {
  const heard = { partials: [], finals: [] };
  const listeners = { partial: (p) => heard.partials.push(p), final: (f) => heard.finals.push(f) };
  const session = new Protocol("ws://host/path", { model: "", hotwords: [], ...wanted }, listeners, { WebSocketClass: FakeSocket });
  const socket = FakeSocket.last;
  socket.open();
  return { session, socket, heard };
}
