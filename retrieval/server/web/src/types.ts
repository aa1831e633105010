/** What the API speaks, and what a query is on this page. */

export const MODALITIES = ["image", "video", "audio", "text"] as const;
export type Modality = (typeof MODALITIES)[number];
export type Target = Modality | "item" | "any";

export type Value = string | number | boolean | null;

export interface Hit {
  rank: number;
  score: number;
  id: string;
  modality: Modality | "item";
  path: string | null;
  text: string | null;
  start: number | null;
  end: number | null;
  metadata: Record<string, Value>;
  asset: number;
  /** How many of a hundred scores of unrelated things are below; null where that is not known. */
  percentile: number | null;
  media: string | null;
  thumbnail: string | null;
  contributions: number[];
}

export interface Answer {
  hits: Hit[];
  to: string;
  milliseconds: number;
}

export interface Column {
  name: string;
  type: string;
  examples: Value[];
  /** Of numbers alone. */
  min: Value;
  max: Value;
}

export interface Info {
  version: string;
  items: number;
  generation: number;
  modalities: Partial<Record<Modality, Held>>;
  /** Null where whole items cannot be found. */
  fusion: string | null;
  columns: Column[];
}

export interface Held {
  assets: number;
  /** Null where nothing can be found. */
  index: string | null;
  /** Whether a query may be of this modality. */
  asks: boolean;
}

/** One part of a query. For an upload, `value` is its file's name and `upload` its key on this page. */
export interface Term {
  kind: Modality | "id";
  value: string;
  weight: number;
  upload?: string;
}

export type Filter =
  | { kind: "contains"; column: string; text: string }
  | { kind: "values"; column: string; values: (string | number | boolean)[] }
  | { kind: "range"; column: string; min: number | null; max: number | null }
  | { kind: "expression"; text: string };

/** Everything that is asked, and so everything that the address says: the box's words, and the chips. */
export interface Request {
  text: string;
  terms: Term[];
  to: Target | null;
  filters: Filter[];
  k: number;
}

export const PAGE_SIZE = 24;

export const NOTHING: Request = { text: "", terms: [], to: null, filters: [], k: PAGE_SIZE };
