/** The microphone: what is recorded becomes a file of the query. */

import { signal } from "@preact/signals";
import { addFile, notice } from "./store";

const LONGEST = 30;

const seconds = signal<number | null>(null);
let running: { media: MediaRecorder; discarded: boolean } | null = null;
let asking = false;

/** Start, or stop and search. */
async function toggle(): Promise<void> {
  if (running) {
    running.media.stop();
    return;
  }
  if (asking) return; // the person, whether the microphone may be used
  let stream: MediaStream;
  asking = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    notice.value = `The microphone cannot be used: ${(error as Error).message}.`;
    return;
  } finally {
    asking = false;
  }
  const media = new MediaRecorder(stream);
  const session = { media, discarded: false };
  const parts: Blob[] = [];
  const began = Date.now();
  const ticking = setInterval(() => {
    seconds.value = (Date.now() - began) / 1000;
    if (seconds.value >= LONGEST) media.stop();
  }, 200);
  media.ondataavailable = (event) => parts.push(event.data);
  media.onstop = () => {
    clearInterval(ticking);
    for (const track of stream.getTracks()) track.stop();
    running = null;
    seconds.value = null;
    if (session.discarded) return;
    const type = media.mimeType.split(";")[0] || "audio/webm";
    addFile(new File(parts, "recording", { type }));
  };
  running = session;
  seconds.value = 0;
  media.start();
}

/** Stop without searching; whether there was something to stop. */
function discard(): boolean {
  if (!running) return false;
  running.discarded = true;
  running.media.stop();
  return true;
}

export const recorder = {
  /** Whether the browser lets this page record: over plain HTTP only from the machine itself. */
  isThere: "MediaRecorder" in globalThis && navigator.mediaDevices !== undefined,
  /** How long it has recorded; null when it does not. */
  seconds,
  toggle,
  discard,
};
