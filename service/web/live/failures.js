/** What can go wrong, by kind; texts.js has the words. */

export class LiveError extends Error {
  /** `detail` is what somebody else said about it (the server, the browser); it is shown as it is. */
  constructor(kind, detail = "") {
    super(detail ? `${kind}: ${detail}` : kind);
    this.kind = kind;
    this.detail = detail;
  }
}
