/** Streaming resampler: mono float samples at one rate in, at another out; windowed-sinc, polyphase. */

const ZERO_CROSSINGS = 16; // on each side
const PASSBAND = 0.94; // of the lower Nyquist frequency; what is left is the filter's slope
const KAISER_BETA = 8; // stopband below -80 dB

export class Resampler {
  #step; // input samples per output sample: #step / #phases
  #phases;
  #taps;
  #filters;
  #pending; // input not yet behind the filter; begins with half a filter of silence
  #position = 0; // of the next output sample, in 1 / #phases of an input sample, from the start of #pending

  /** Rates in Hz, whole numbers. */
  constructor(inputRate, outputRate) {
    const divisor = greatestCommonDivisor(inputRate, outputRate);
    this.#step = inputRate / divisor;
    this.#phases = outputRate / divisor;
    const cutoff = (Math.min(inputRate, outputRate) / inputRate) * PASSBAND; // of the input's Nyquist frequency
    const half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.#taps = 2 * half;
    this.#filters = Array.from({ length: this.#phases }, (_, phase) => makeFilter(half, cutoff, phase / this.#phases));
    this.#pending = new Float32Array(half - 1);
  }

  /** The output that `input` completes; its tail waits for what comes next. */
  push(input) {
    const samples = new Float32Array(this.#pending.length + input.length);
    samples.set(this.#pending);
    samples.set(input, this.#pending.length);
    const output = [];
    let first = Math.floor(this.#position / this.#phases);
    while (first + this.#taps <= samples.length) {
      const filter = this.#filters[this.#position % this.#phases];
      let sum = 0;
      for (let k = 0; k < this.#taps; k++) sum += filter[k] * samples[first + k];
      output.push(sum);
      this.#position += this.#step;
      first = Math.floor(this.#position / this.#phases);
    }
    const used = Math.min(first, samples.length);
    this.#pending = samples.slice(used);
    this.#position -= used * this.#phases;
    return Float32Array.from(output);
  }

  /** The rest, once no more input comes. */
  flush() {
    return this.push(new Float32Array(this.#taps / 2));
  }
}

/** PCM16 of float samples; what is too loud is clipped. */
export function toPcm16(samples) {
  return Int16Array.from(samples, (x) => Math.round(Math.max(-1, Math.min(1, x)) * 32767));
}

function makeFilter(half, cutoff, fraction) {
  const filter = new Float32Array(2 * half);
  let sum = 0;
  for (let k = 0; k < filter.length; k++) {
    const t = k - (half - 1) - fraction; // in input samples from the output sample's place
    const x = Math.PI * cutoff * t;
    const window = bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - (t / half) ** 2))) / bessel(KAISER_BETA);
    filter[k] = (x === 0 ? 1 : Math.sin(x) / x) * window;
    sum += filter[k];
  }
  return filter.map((x) => x / sum); // the same gain in every phase
}

/** Modified Bessel function of the first kind, order 0. */
function bessel(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-10; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
