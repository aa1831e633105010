/** Types of the API and of a query on this page. */

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
  /** Percentile of the score among scores of unrelated pairs; null if unknown. */
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
  /** Only for numbers. */
  min: Value;
  max: Value;
}

export interface Info {
  version: string;
  items: number;
  generation: number;
  modalities: Partial<Record<Modality, ModalityInfo>>;
  /** Null if whole items cannot be searched. */
  fusion: string | null;
  columns: Column[];
}

export interface ModalityInfo {
  assets: number;
  /** Null if there is nothing to search. */
  index: string | null;
  /** Whether a query may be of this modality. */
  asks: boolean;
}

/** One part of a query. For a file, `value` is its name and `upload` its key on this page. */
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

/** A complete request, as the URL contains it: `text` is the search box, `terms` are the chips. */
export interface Request {
  text: string;
  terms: Term[];
  to: Target | null;
  filters: Filter[];
  k: number;
}

export const PAGE_SIZE = 24;

export const NOTHING: Request = { text: "", terms: [], to: null, filters: [], k: PAGE_SIZE };
