/** The microphone as a stream of PCM16 chunks. */

import { LiveError } from "../failures.js";

/**
 * Opens the microphone and calls `onChunk(Int16Array)` until it is stopped.
 * `cleanUp`: the browser's echo, noise and level processing. `onLost()`: the device has gone.
 * @throws {LiveError} microphone-*: why it can't be used; not-connected.
 */
export async function openMicrophone({ sampleRate, chunkSamples, cleanUp, onChunk, onLost }) {
  if (!navigator.mediaDevices?.getUserMedia) throw new LiveError("microphone-insecure");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: cleanUp, noiseSuppression: cleanUp, autoGainControl: cleanUp },
    });
  } catch (error) {
    throw new LiveError(MICROPHONE_FAILURES[error.name] ?? "microphone-busy", error.message);
  }
  const context = new AudioContext();
  const release = async () => {
    for (const track of stream.getTracks()) track.stop();
    await context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
  } catch {
    await release();
    throw new LiveError("not-connected"); // the module comes from the server
  }
  await context.resume();
  const node = new AudioWorkletNode(context, "microphone", { processorOptions: { outputRate: sampleRate, chunkSamples } });
  const ended = new Promise((resolve) => {
    node.port.onmessage = ({ data }) => (data ? onChunk(data) : resolve());
  });
  context.createMediaStreamSource(stream).connect(node).connect(context.destination); // its output is silence
  stream.getAudioTracks()[0].onended = onLost;
  return {
    /** Resolves when the last chunk has been handed on. */
    async stop() {
      node.port.postMessage("end");
      await ended;
      await release();
    },
  };
}

const MICROPHONE_FAILURES = {
  NotAllowedError: "microphone-denied",
  SecurityError: "microphone-denied",
  NotFoundError: "microphone-missing",
  OverconstrainedError: "microphone-missing",
};
