/** The one sound that plays among the results, from its hit's moment to the end of it. */

import { signal } from "@preact/signals";
import { notice } from "./store";
import type { Hit } from "./types";

export const playing = signal<{ asset: number; start: number | null; progress: number } | null>(null);

const audio = new Audio();

export function isPlaying(hit: Hit): boolean {
  return playing.value?.asset === hit.asset && playing.value.start === hit.start;
}

/** Play the hit, or stop it if it plays. */
export function toggle(hit: Hit): void {
  const stopping = isPlaying(hit);
  stop();
  if (stopping || !hit.media) return;
  const { asset, start } = hit;
  const first = start ?? 0;
  audio.src = hit.media;
  audio.onloadedmetadata = () => (audio.currentTime = first);
  audio.ontimeupdate = () => {
    const last = hit.end ?? audio.duration;
    if (audio.currentTime >= last) stop();
    else
      playing.value = { asset, start, progress: Math.max(0, (audio.currentTime - first) / (last - first)) };
  };
  audio.onended = stop;
  playing.value = { asset, start, progress: 0 };
  audio.play().catch((error: Error) => {
    if (error.name === "AbortError") return; // another was started meanwhile
    stop();
    notice.value = `This sound cannot be played here: ${error.message}`;
  });
}

export function stop(): void {
  audio.pause();
  audio.ontimeupdate = null;
  playing.value = null;
}
