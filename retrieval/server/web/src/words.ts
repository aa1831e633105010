/** Numbers and names formatted for people. */

import type { Modality, Target } from "./types";

const ONE: Record<Modality | "item", string> = {
  image: "picture",
  video: "video",
  audio: "sound",
  text: "caption",
  item: "item",
};

/** `3 pictures`. */
export function counted(count: number, what: Target): string {
  const one = what === "any" ? "result" : ONE[what];
  return `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
}

/** `Pictures`. */
export function plural(what: Target): string {
  if (what === "any") return "Everything";
  const name = `${ONE[what]}s`;
  return name[0]!.toUpperCase() + name.slice(1);
}

/** `picture`. */
export function singular(what: Modality | "item"): string {
  return ONE[what];
}

/** Seconds in the format of a media player: `1:05`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (part: number) => String(part).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** `0:12 – 0:22`; null for a whole asset. */
export function span(start: number | null, end: number | null): string | null {
  if (start === null) return null;
  return end === null ? `from ${clock(start)}` : `${clock(start)} – ${clock(end)}`;
}

/** A score with a true minus sign. */
export function figure(score: number): string {
  return score.toFixed(2).replace("-", "−");
}

/** `above 99.96% of unrelated pairs`, never rounded up; null if the percentile is unknown. */
export function rarity(percentile: number | null): string | null {
  if (percentile === null) return null;
  return `above ${(Math.floor(percentile * 100) / 100).toFixed(2)}% of unrelated pairs`;
}

/** The part after the last slash. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
