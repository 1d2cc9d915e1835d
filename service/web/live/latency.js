/** How long text took after the sound that it tells of was sent. */

export class Latency {
  #now;
  #sentUpToMs = []; // of audio, for each chunk
  #sentAt = []; // clock time, for each chunk

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  get audioMs() {
    return this.#sentUpToMs.at(-1) ?? 0;
  }

  sent(durationMs) {
    this.#sentUpToMs.push(this.audioMs + durationMs);
    this.#sentAt.push(this.#now());
  }

  /** ms since the chunk that holds the sound at `audioMs` was sent; null when that is unknown. */
  since(audioMs) {
    if (audioMs === undefined || audioMs === null || !this.#sentAt.length) return null;
    let low = 0;
    let high = this.#sentUpToMs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sentUpToMs[middle] >= audioMs) high = middle;
      else low = middle + 1;
    }
    return this.#now() - this.#sentAt[low];
  }
}

export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
