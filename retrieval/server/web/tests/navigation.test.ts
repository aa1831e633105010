import { expect, it } from "vitest";
import { columnsOf, nextIndex } from "../src/navigation";

it.each([
  ["ArrowRight", 0, 1],
  ["ArrowRight", 9, 9],
  ["ArrowLeft", 0, 0],
  ["ArrowDown", 1, 5],
  ["ArrowDown", 7, 9], // a short last row
  ["ArrowDown", 8, 8],
  ["ArrowUp", 5, 1],
  ["ArrowUp", 2, 2],
  ["Home", 7, 0],
  ["End", 2, 9],
])("%s from %i leads to %i among ten in rows of four", (key, at, to) => {
  expect(nextIndex(key, at, 10, 4)).toBe(to);
});

it("ignores other keys", () => {
  expect(nextIndex("a", 3, 10, 4)).toBeNull();
});

it("counts the elements of the first row", () => {
  expect(columnsOf([10, 10.4, 10, 90, 90])).toBe(3);
  expect(columnsOf([10, 10])).toBe(2);
  expect(columnsOf([])).toBe(1);
});
