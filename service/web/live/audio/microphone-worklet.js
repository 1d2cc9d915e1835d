/** On the audio thread: the microphone's float blocks to PCM16 chunks at the rate that the protocol wants. */

import { Resampler, toPcm16 } from "./resampler.js";

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions: { outputRate, chunkSamples } }) {
    super();
    this.resampler = new Resampler(sampleRate, outputRate);
    this.chunk = new Int16Array(chunkSamples);
    this.filled = 0;
    this.ended = false;
    this.port.onmessage = () => this.end();
  }

  process([channels]) {
    if (this.ended) return false;
    if (channels.length) this.add(this.resampler.push(mixed(channels)));
    return true;
  }

  add(samples) {
    for (const sample of toPcm16(samples)) {
      this.chunk[this.filled++] = sample;
      if (this.filled === this.chunk.length) {
        this.port.postMessage(this.chunk.slice());
        this.filled = 0;
      }
    }
  }

  end() {
    if (this.ended) return;
    this.ended = true;
    this.add(this.resampler.flush());
    if (this.filled) this.port.postMessage(this.chunk.slice(0, this.filled));
    this.port.postMessage(null);
  }
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor("microphone", MicrophoneProcessor);
