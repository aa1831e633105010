/** Write a request to the query string of a URL, and read it back. URLs are untrusted input: invalid parts are ignored. */

import { formatWeighted, parseWeighted } from "./terms";
import { MODALITIES, NOTHING, PAGE_SIZE } from "./types";
import type { Filter, Modality, Request, Target, Term } from "./types";

export const MAX_RESULTS = 240;

const UPLOADS: readonly string[] = ["image", "audio", "video"];

/** Return for example `q=a dog&text=snow^-0.5&to=image`: `q` is the search box, other names are as on the command line. */
export function write(request: Request): string {
  const pairs: [string, string][] = request.terms.map((term) => [
    term.kind,
    formatWeighted(term.value, term.weight),
  ]);
  if (request.text) pairs.unshift(["q", request.text]);
  if (request.to) pairs.push(["to", request.to]);
  for (const filter of request.filters) pairs.push(["filter", JSON.stringify(packed(filter))]);
  if (request.k !== PAGE_SIZE) pairs.push(["k", String(request.k)]);
  return new URLSearchParams(pairs).toString();
}

/** Read a request. A URL contains no files: their terms have no upload. */
export function read(search: string): Request {
  const request: Request = { ...NOTHING, terms: [], filters: [] };
  for (const [name, value] of new URLSearchParams(search)) {
    if (name === "q") request.text = value.trim();
    else if (name === "to") request.to = isTarget(value) ? value : null;
    else if (name === "k") request.k = limitedResults(Number(value));
    else if (name === "filter") request.filters.push(...unpacked(value));
    else if ((name === "text" || name === "id" || UPLOADS.includes(name)) && value.trim())
      request.terms.push({ kind: name as Term["kind"], ...parseWeighted(value) });
  }
  return request;
}

export function isModality(name: string): name is Modality {
  return (MODALITIES as readonly string[]).includes(name);
}

function isTarget(name: string): name is Target {
  return name === "any" || name === "item" || isModality(name);
}

function limitedResults(k: number): number {
  return Number.isInteger(k) && k > 0 ? Math.min(k, MAX_RESULTS) : PAGE_SIZE;
}

function packed(filter: Filter): unknown[] {
  switch (filter.kind) {
    case "contains":
      return ["contains", filter.column, filter.text];
    case "values":
      return ["values", filter.column, ...filter.values];
    case "range":
      return ["range", filter.column, filter.min, filter.max];
    case "expression":
      return ["expression", filter.text];
  }
}

function unpacked(json: string): Filter[] {
  let parts: unknown;
  try {
    parts = JSON.parse(json);
  } catch {
    return [];
  }
  if (!Array.isArray(parts)) return [];
  const [kind, column, ...rest] = parts as unknown[];
  if (typeof column !== "string") return [];
  if (kind === "expression") return [{ kind, text: column }];
  if (kind === "contains" && typeof rest[0] === "string") return [{ kind, column, text: rest[0] }];
  if (kind === "values" && rest.length) return [{ kind, column, values: rest.filter(isScalar) }];
  if (kind === "range") return [{ kind, column, min: bound(rest[0]), max: bound(rest[1]) }];
  return [];
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function bound(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
