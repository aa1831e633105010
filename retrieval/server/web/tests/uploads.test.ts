import { expect, it } from "vitest";
import { kindOf } from "../src/uploads";

it.each([
  ["cat.jpg", "image/jpeg", "image"],
  ["cat.HEIC", "", "image"],
  ["song.ogg", "application/ogg", "audio"],
  ["film.mkv", "", "video"],
  ["film.mov", "video/quicktime", "video"],
  ["types.ts", "text/plain", null],
  ["thesis.pdf", "application/pdf", null],
  ["no ending", "", null],
])("%s of type %s is %s", (name, type, kind) => {
  expect(kindOf({ name, type })).toBe(kind);
});
