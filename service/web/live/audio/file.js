/** An audio file as a stream of PCM16 chunks, at the pace it was spoken or faster. */

import { LiveError } from "../failures.js";
import { toPcm16 } from "./resampler.js";

const LARGEST_BACKLOG_BYTES = 1 << 20;

/**
 * The file's sound as mono PCM16 at `sampleRate`; the browser decodes and resamples.
 * @throws {LiveError} file-undecodable
 */
export async function decodeFile(file, sampleRate) {
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new LiveError("file-undecodable", file.name);
  }
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
  if (channels.length === 1) return toPcm16(channels[0]);
  return toPcm16(channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length));
}

/**
 * Calls `onChunk(Int16Array)` for all of `pcm`: `pace` times as fast as it was spoken, or, with 0, as fast as
 * `backlogBytes()` stays small. Resolves at the end, or when `signal` is aborted.
 */
export async function streamPcm(pcm, { sampleRate, chunkSamples, pace, onChunk, backlogBytes, signal }) {
  const started = performance.now();
  for (let at = 0; at < pcm.length && !signal.aborted; at += chunkSamples) {
    const chunk = pcm.subarray(at, at + chunkSamples);
    // A chunk leaves once its last sample has been spoken. By the clock, so that slow timers (a tab in the
    // background) are made good.
    const due = pace ? started + ((at + chunk.length) / sampleRate / pace) * 1000 : 0;
    while (!signal.aborted && (performance.now() < due || backlogBytes() > LARGEST_BACKLOG_BYTES)) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(5, due - performance.now())));
    }
    if (!signal.aborted) onChunk(chunk);
    if (!pace && at % (chunkSamples * 20) === 0) await new Promise((resolve) => setTimeout(resolve)); // lets the page breathe
  }
}
