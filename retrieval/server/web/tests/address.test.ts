import { describe, expect, it } from "vitest";
import { MAX_RESULTS, read, write } from "../src/address";
import { NOTHING } from "../src/types";
import type { Request } from "../src/types";

const full: Request = {
  text: "a cat^2",
  terms: [
    { kind: "text", value: "a dog & <b>^2", weight: 1 },
    { kind: "text", value: "snow", weight: -0.5 },
    { kind: "id", value: "holidays/cat\n'\"\u200f", weight: 2 },
  ],
  to: "any",
  filters: [
    { kind: "contains", column: "place", text: "Os~lo" },
    { kind: "values", column: "kind", values: ["a", 1, true] },
    { kind: "range", column: "year", min: 2000, max: null },
    { kind: "expression", text: "year > 3" },
  ],
  k: 48,
};

describe("the URL", () => {
  it("preserves every request", () => {
    expect(read(write(full))).toEqual(full);
    expect(read(write(NOTHING))).toEqual(NOTHING);
    expect(write(NOTHING)).toBe("");
  });
  it("accepts items as a target", () => {
    expect(read("?q=a&to=item").to).toBe("item");
  });
  it("is readable", () => {
    expect(
      write({ ...NOTHING, text: "a dog", terms: [{ kind: "text", value: "snow", weight: -1 }], to: "image" }),
    ).toBe("q=a+dog&text=snow%5E-1&to=image");
  });
  it("names an upload but does not contain it", () => {
    const request = { ...NOTHING, terms: [{ kind: "image", value: "me.jpg", weight: 1, upload: "7" }] };
    expect(read(write(request as Request)).terms).toEqual([{ kind: "image", value: "me.jpg", weight: 1 }]);
  });
  it("ignores what is unknown or invalid", () => {
    expect(read("?vector=1&to=smell&k=-3&text=&filter=nonsense&filter=[1,2]&filter=[]&filter={}")).toEqual(
      NOTHING,
    );
    expect(read("k=100000").k).toBe(MAX_RESULTS);
    expect(read('filter=["range","a","x",null]').filters).toEqual([
      { kind: "range", column: "a", min: null, max: null },
    ]);
  });
});
