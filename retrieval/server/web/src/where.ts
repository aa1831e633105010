/** Compile filters to a `where` expression of the API, with all names and texts quoted. */

import type { Filter } from "./types";

const KEYWORDS = new Set(["and", "or", "not", "in", "like", "is", "null", "true", "false"]);

/** Quote a text. NUL and lone surrogates are removed, as the expression language does not have them. */
export function quoteText(text: string): string {
  return `'${clean(text).replaceAll("'", "''")}'`;
}

/** Quote a column's name, unless it is a plain word. */
export function quoteName(name: string): string {
  const plain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !KEYWORDS.has(name.toLowerCase());
  return plain ? name : `"${clean(name).replaceAll('"', '""')}"`;
}

/** Return one expression that combines all filters with `and`; null if all are empty. */
export function compile(filters: readonly Filter[]): string | null {
  const parts = filters.flatMap(conditions);
  return parts.length ? parts.join(" and ") : null;
}

function conditions(filter: Filter): string[] {
  if (filter.kind === "expression") {
    const text = filter.text.trim();
    return text ? [`(${text})`] : [];
  }
  const name = quoteName(filter.column);
  switch (filter.kind) {
    case "contains":
      return filter.text ? [`${name} like ${quoteText(`%${filter.text}%`)}`] : [];
    case "values": {
      const values = filter.values.map(literal);
      if (values.length < 2) return values.map((value) => `${name} = ${value}`);
      return [`${name} in (${values.join(", ")})`];
    }
    case "range": {
      const low = filter.min === null ? [] : [`${name} >= ${filter.min}`];
      const high = filter.max === null ? [] : [`${name} <= ${filter.max}`];
      return [...low, ...high];
    }
  }
}

function literal(value: string | number | boolean): string {
  return typeof value === "string" ? quoteText(value) : String(value);
}

function clean(text: string): string {
  return text.replace(/[\0\p{Surrogate}]/gu, "");
}
