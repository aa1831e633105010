/** Terms of a query: weights in the notation of the command line, and merging of equal terms. */

import type { Term } from "./types";

const WEIGHTED = /^(.*)\^(-?(?:\d+(?:\.\d*)?|\.\d+))$/su;

export const MAX_WEIGHT = 2;

/** Weight of a subtracted result; −1 would leave little of the query. */
export const SUBTRACT_WEIGHT = -0.5;

/** Split a value from the weight at its end, as in `snow^-0.5`. */
export function parseWeighted(written: string): { value: string; weight: number } {
  const [, value, weight] = WEIGHTED.exec(written) ?? [];
  return value?.trim() ? { value, weight: Number(weight) } : { value: written, weight: 1 };
}

/** The inverse of `parseWeighted`; a weight of 1 is written only if the value itself looks weighted. */
export function formatWeighted(value: string, weight: number): string {
  return weight === 1 && !WEIGHTED.test(value) ? value : `${value}^${weight}`;
}

/** Limit the weight to the slider's range, rounded to two digits; the sign is kept. */
export function clampWeight(weight: number): number {
  const size = Math.min(MAX_WEIGHT, Math.max(0, Math.abs(weight)));
  return (Math.round(size * 100) / 100) * (weight < 0 ? -1 : 1);
}

/** Subtract the term instead of adding it, or the reverse. */
export function flipped(term: Term): Term {
  return { ...term, weight: -term.weight };
}

/** Add a term; a text or item that is there already gets the new weight instead. */
export function withTerm(terms: readonly Term[], term: Term): Term[] {
  const same = (other: Term) => !term.upload && other.kind === term.kind && other.value === term.value;
  const at = terms.findIndex(same);
  return at < 0 ? [...terms, term] : terms.with(at, term);
}

/** Format a weight with a true minus sign, or a plus sign for an added term. */
export function signed(weight: number): string {
  return `${weight < 0 ? "−" : "+"}${Math.abs(weight)}`;
}

const NAMES = { text: "text", image: "picture", audio: "sound", video: "video", id: "like" } as const;

/** The kind of the term as one word. */
export function kindName(term: Term): string {
  return NAMES[term.kind];
}

/** The colour of a term from look.css, the same wherever the term is shown. */
export function colour(at: number): string {
  return `var(--series-${(at % 8) + 1})`;
}
