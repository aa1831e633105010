/** The files that are asked with. They stay on this page: an address cannot carry them. */

import type { Modality, Term } from "./types";

export interface Upload {
  file: File;
  kind: Modality;
  /** A blob: address for the preview. */
  url: string;
}

/** Keys of before a reload, which the history still holds, must not name files of after it. */
const loaded = Date.now().toString(36);

const uploads = new Map<string, Upload>();

/** Of files whose type browsers do not tell. */
const ENDINGS: Record<Media, string[]> = {
  image: ["avif", "heic", "heif", "jxl", "tif", "tiff"],
  audio: ["aif", "aiff", "flac", "m4a", "oga", "ogg", "opus", "wma"],
  video: ["avi", "m4v", "mkv", "mov", "mpeg", "mpg", "ts", "wmv"],
};

type Media = "image" | "audio" | "video";

const MEDIA: readonly Media[] = ["image", "audio", "video"];

/** What a file is, by what the browser takes it for, or else by its ending; null for what cannot be a query. */
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

/** Remember a file; returns its key. Back and forward find it again until the page is left. */
export function keep(file: File, kind: Modality): string {
  const key = `${loaded}-${uploads.size}`;
  uploads.set(key, { file, kind, url: URL.createObjectURL(file) });
  return key;
}

export function uploadOf(term: Term): Upload | undefined {
  return term.upload === undefined ? undefined : uploads.get(term.upload);
}

/** Whether the term is a file that an address named and this page does not have. */
export function isMissing(term: Term): boolean {
  return term.kind !== "text" && term.kind !== "id" && !uploadOf(term);
}
