import { expect, it } from "vitest";
import { clock, counted, fileName, plural, rarity, span } from "../src/words";

it("formats time as media players do", () => {
  expect(clock(65.9)).toBe("1:05");
  expect(clock(3725)).toBe("1:02:05");
  expect(span(12, 22)).toBe("0:12 – 0:22");
  expect(span(null, null)).toBeNull();
});

it("formats counts and names", () => {
  expect(counted(1, "image")).toBe("1 picture");
  expect(counted(12000, "any")).toBe("12,000 results");
  expect(plural("audio")).toBe("Sounds");
  expect(plural("item")).toBe("Items");
  expect(fileName("a/b.png")).toBe("b.png");
});

it("formats the percentile and never rounds it up to 100%", () => {
  expect(rarity(99.9999)).toBe("above 99.99% of unrelated pairs");
  expect(rarity(50)).toBe("above 50.00% of unrelated pairs");
  expect(rarity(null)).toBeNull();
});
