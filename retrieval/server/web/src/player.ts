/** Plays one sound of the results at a time, from the hit's start to its end. */

import { signal } from "@preact/signals";
import { notice } from "./store";
import type { Hit } from "./types";

export const playing = signal<{ asset: number; start: number | null; progress: number } | null>(null);

const audio = new Audio();

export function isPlaying(hit: Hit): boolean {
  return playing.value?.asset === hit.asset && playing.value.start === hit.start;
}

/** Play the hit, or stop it if it is playing. */
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
    if (error.name === "AbortError") return; // another sound was started meanwhile
    stop();
    notice.value = `This browser cannot play the sound: ${error.message}`;
  });
}

export function stop(): void {
  audio.pause();
  audio.ontimeupdate = null;
  playing.value = null;
}
