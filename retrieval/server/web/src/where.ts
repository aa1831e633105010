/** Filters to the `where` language of the API, every name and text quoted as its grammar wants. */

import type { Filter } from "./types";

const KEYWORDS = new Set(["and", "or", "not", "in", "like", "is", "null", "true", "false"]);

/** A text in single quotes. The language has no NUL and no lone surrogates, so they cannot be meant. */
export function quoteText(text: string): string {
  return `'${clean(text).replaceAll("'", "''")}'`;
}

/** A column's name, in double quotes unless it is a plain word. */
export function quoteName(name: string): string {
  const plain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !KEYWORDS.has(name.toLowerCase());
  return plain ? name : `"${clean(name).replaceAll('"', '""')}"`;
}

/** One expression that all filters must meet; null when none says anything. */
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
