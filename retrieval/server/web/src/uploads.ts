/** Files of the query. They exist only on this page: a URL cannot contain them. */

import type { Modality, Term } from "./types";

export interface Upload {
  file: File;
  kind: Modality;
  /** A blob: URL for the preview. */
  url: string;
}

/** Part of each key: keys from before a reload are still in the browser history and must not name newer files. */
const loaded = Date.now().toString(36);

const uploads = new Map<string, Upload>();

/** Endings of files for which browsers report no type. */
const ENDINGS: Record<Media, string[]> = {
  image: ["avif", "heic", "heif", "jxl", "tif", "tiff"],
  audio: ["aif", "aiff", "flac", "m4a", "oga", "ogg", "opus", "wma"],
  video: ["avi", "m4v", "mkv", "mov", "mpeg", "mpg", "ts", "wmv"],
};

type Media = "image" | "audio" | "video";

const MEDIA: readonly Media[] = ["image", "audio", "video"];

/** The modality of a file, by the type that the browser reports, or else by its ending; null if it cannot be a query. */
export function kindOf(file: { name: string; type: string }): Media | null {
  const type = file.type.split("/")[0];
  const ending = file.name.slice(file.name.lastIndexOf(".") + 1).toLowerCase();
  return (
    MEDIA.find((kind) => kind === type) ??
    (file.type === "" || file.type === "application/ogg"
      ? (MEDIA.find((kind) => ENDINGS[kind].includes(ending)) ?? null)
      : null)
  );
}

/** Remember a file until the page is left, so that back and forward find it again. Returns its key. */
export function rememberFile(file: File, kind: Modality): string {
  const key = `${loaded}-${uploads.size}`;
  uploads.set(key, { file, kind, url: URL.createObjectURL(file) });
  return key;
}

export function uploadOf(term: Term): Upload | undefined {
  return term.upload === undefined ? undefined : uploads.get(term.upload);
}

/** Return whether the term is a file that the URL names but this page does not have. */
export function isMissing(term: Term): boolean {
  return term.kind !== "text" && term.kind !== "id" && !uploadOf(term);
}
