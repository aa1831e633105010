import { describe, expect, it } from "vitest";
import { compile, quoteName, quoteText } from "../src/where";

describe("quoting", () => {
  it("doubles the enclosing quote character", () => {
    expect(quoteText("it's")).toBe("'it''s'");
    expect(quoteName('a "b"')).toBe('"a ""b"""');
  });
  it("leaves plain names unquoted, except keywords", () => {
    expect(quoteName("year_2")).toBe("year_2");
    expect(quoteName("Or")).toBe('"Or"');
    expect(quoteName("2nd")).toBe('"2nd"');
    expect(quoteName("größe")).toBe('"größe"');
  });
  it("keeps line breaks and marks, removes characters that the language does not have", () => {
    expect(quoteText("a\nb\u200f")).toBe("'a\nb\u200f'");
    expect(quoteText("a\0b\ud800")).toBe("'ab'");
    expect(quoteText("😀")).toBe("'😀'");
  });
});

describe("compile", () => {
  it("returns null for empty filters", () => {
    expect(compile([])).toBeNull();
    expect(compile([{ kind: "contains", column: "a", text: "" }])).toBeNull();
    expect(compile([{ kind: "range", column: "a", min: null, max: null }])).toBeNull();
    expect(compile([{ kind: "expression", text: "  " }])).toBeNull();
    expect(compile([{ kind: "values", column: "a", values: [] }])).toBeNull();
  });
  it("combines every kind of filter", () => {
    expect(
      compile([
        { kind: "contains", column: "place", text: "O'Hare" },
        { kind: "range", column: "year", min: 1999.5, max: -3 },
        { kind: "values", column: "the kind", values: ["a'b"] },
        { kind: "values", column: "n", values: [1, 2] },
        { kind: "values", column: "is", values: [true] },
        { kind: "expression", text: "a = 1 or b = 2" },
      ]),
    ).toBe(
      "place like '%O''Hare%' and year >= 1999.5 and year <= -3 and \"the kind\" = 'a''b' " +
        'and n in (1, 2) and "is" = true and (a = 1 or b = 2)',
    );
  });
  it("cannot be escaped by quotes", () => {
    expect(compile([{ kind: "contains", column: '" is null or "', text: "' or 1=1 --" }])).toBe(
      `""" is null or """ like '%'' or 1=1 --%'`,
    );
  });
});
