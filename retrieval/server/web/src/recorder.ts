/** Microphone recording; a recording is added to the query as a file. */

import { signal } from "@preact/signals";
import { addFile, notice } from "./store";

const MAX_SECONDS = 30;

const seconds = signal<number | null>(null);
let running: { media: MediaRecorder; discarded: boolean } | null = null;
let requestingPermission = false;

/** Start recording, or stop and search. */
async function toggle(): Promise<void> {
  if (running) {
    running.media.stop();
    return;
  }
  if (requestingPermission) return; // the browser is still asking the user for permission
  let stream: MediaStream;
  requestingPermission = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    notice.value = `The microphone cannot be used: ${(error as Error).message}.`;
    return;
  } finally {
    requestingPermission = false;
  }
  const media = new MediaRecorder(stream);
  const session = { media, discarded: false };
  const parts: Blob[] = [];
  const began = Date.now();
  const ticking = setInterval(() => {
    seconds.value = (Date.now() - began) / 1000;
    if (seconds.value >= MAX_SECONDS) media.stop();
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

/** Stop without searching; return whether a recording was running. */
function discard(): boolean {
  if (!running) return false;
  running.discarded = true;
  running.media.stop();
  return true;
}

export const recorder = {
  /** Whether the browser lets this page record; over plain HTTP it does so only on localhost. */
  isAvailable: "MediaRecorder" in globalThis && navigator.mediaDevices !== undefined,
  /** Duration of the running recording; null if there is none. */
  seconds,
  toggle,
  discard,
};
