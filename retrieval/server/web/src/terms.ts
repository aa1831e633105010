/** The terms of a query: weights as the command line writes them, and what makes two queries into one. */

import type { Term } from "./types";

const WEIGHTED = /^(.*)\^(-?(?:\d+(?:\.\d*)?|\.\d+))$/su;

export const MAX_WEIGHT = 2;

/** What a result gets that is subtracted: a whole one leaves little of the query. */
export const SUBTRACTED = -0.5;

/** A value with the weight at its end: `snow^-0.5`. */
export function parseWeighted(written: string): { value: string; weight: number } {
  const [, value, weight] = WEIGHTED.exec(written) ?? [];
  return value?.trim() ? { value, weight: Number(weight) } : { value: written, weight: 1 };
}

/** The other way; a weight of 1 is written only where the value itself looks weighted. */
export function formatWeighted(value: string, weight: number): string {
  return weight === 1 && !WEIGHTED.test(value) ? value : `${value}^${weight}`;
}

/** The weight within what the page's slider offers, to two digits; the sign is kept. */
export function clampWeight(weight: number): number {
  const size = Math.min(MAX_WEIGHT, Math.max(0, Math.abs(weight)));
  return (Math.round(size * 100) / 100) * (weight < 0 ? -1 : 1);
}

/** The term subtracted instead of added, or the other way round. */
export function flipped(term: Term): Term {
  return { ...term, weight: -term.weight };
}

/** The terms with another one; the same text or item is not asked for twice, the newer weight holds. */
export function withTerm(terms: readonly Term[], term: Term): Term[] {
  const same = (other: Term) => !term.upload && other.kind === term.kind && other.value === term.value;
  const at = terms.findIndex(same);
  return at < 0 ? [...terms, term] : terms.with(at, term);
}

/** A weight as it is shown: a true minus sign, and the plus that says "added". */
export function signed(weight: number): string {
  return `${weight < 0 ? "−" : "+"}${Math.abs(weight)}`;
}

const NAMES = { text: "text", image: "picture", audio: "sound", video: "video", id: "like" } as const;

/** What kind of term it is, in a word. */
export function kindName(term: Term): string {
  return NAMES[term.kind];
}

/** One colour of look.css each, the same wherever the term is shown. */
export function colour(at: number): string {
  return `var(--series-${(at % 8) + 1})`;
}
