import { describe, expect, it } from "vitest";
import { clampWeight, flipped, formatWeighted, parseWeighted, signed, withTerm } from "../src/terms";
import type { Term } from "../src/types";

describe("weights", () => {
  it("are read from the end, as on the command line", () => {
    expect(parseWeighted("snow^-0.5")).toEqual({ value: "snow", weight: -0.5 });
    expect(parseWeighted("a^b")).toEqual({ value: "a^b", weight: 1 });
    expect(parseWeighted("^2")).toEqual({ value: "^2", weight: 1 });
    expect(parseWeighted("x^2^3")).toEqual({ value: "x^2", weight: 3 });
    expect(parseWeighted("line\nline^.5")).toEqual({ value: "line\nline", weight: 0.5 });
  });
  it("are read back as they were written", () => {
    for (const [value, weight] of [
      ["snow", 1],
      ["snow", -0.5],
      ["x^2", 1],
      ["x^2", 0.25],
    ] as const)
      expect(parseWeighted(formatWeighted(value, weight))).toEqual({ value, weight });
  });
  it("are limited to the slider's range and keep their sign", () => {
    expect(clampWeight(7)).toBe(2);
    expect(clampWeight(-7)).toBe(-2);
    expect(clampWeight(0.333)).toBe(0.33);
    expect(signed(-0.5)).toBe("−0.5");
    expect(signed(1)).toBe("+1");
  });
});

describe("terms", () => {
  const dog: Term = { kind: "text", value: "dog", weight: 1 };
  it("switch between added and subtracted", () => {
    expect(flipped(flipped({ ...dog, weight: 0.3 }))).toEqual({ ...dog, weight: 0.3 });
  });
  it("are not added twice", () => {
    expect(withTerm([dog], flipped(dog))).toEqual([{ ...dog, weight: -1 }]);
    expect(withTerm([dog], { kind: "id", value: "dog", weight: 1 })).toHaveLength(2);
  });
  it("of different files are never merged", () => {
    const file: Term = { kind: "image", value: "a.jpg", weight: 1, upload: "1" };
    expect(withTerm([file], { ...file, upload: "2" })).toHaveLength(2);
  });
});
