/** How loud PCM16 is, as the service's near-field filter hears it. */

export const QUIETEST_DBFS = -60;
const WINDOW_S = 0.02;

/** The loudest 20 ms of `pcm`: root mean square, full scale 1. */
export function loudestRms(pcm, sampleRate) {
  const window = Math.round(sampleRate * WINDOW_S);
  let loudest = 0;
  for (let at = 0; at < pcm.length; at += window) loudest = Math.max(loudest, rmsOf(pcm.subarray(at, at + window)));
  return loudest;
}

/** dB below full scale, cut off at QUIETEST_DBFS. */
export function toDbfs(rms) {
  return rms > 0 ? Math.max(QUIETEST_DBFS, 20 * Math.log10(rms)) : QUIETEST_DBFS;
}

function rmsOf(pcm) {
  let sum = 0;
  for (const sample of pcm) sum += sample * sample;
  return Math.sqrt(sum / pcm.length) / 32768;
}
