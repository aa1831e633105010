/** Requests to the server. */

import { compile } from "./where";
import type { Answer, Info, Modality, Request, Term } from "./types";
import { uploadOf } from "./uploads";

/** An error, with the server's message if there is one. */
export class ApiError extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status: number,
    /** Seconds to wait before a retry, if the server is busy. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

export interface ItemAsset {
  asset: number;
  modality: Modality;
  path: string | null;
  text: string | null;
  start: number | null;
  media: string | null;
  thumbnail: string | null;
}

/** Fetch the description of the index. */
export function fetchInfo(): Promise<Info> {
  return fetchJson<Info>("/api/info", {});
}

/** Fetch all assets of an item. */
export async function fetchItem(id: string, signal: AbortSignal): Promise<ItemAsset[]> {
  return (await fetchJson<{ assets: ItemAsset[] }>(`/api/items/${encodeURIComponent(id)}`, { signal }))
    .assets;
}

/** The terms to send: the words of the search box first, then the chips; terms with weight 0 are left out. */
export function activeTerms(request: Request): Term[] {
  const words: Term[] = request.text ? [{ kind: "text", value: request.text, weight: 1 }] : [];
  return [...words, ...request.terms].filter((term) => term.weight !== 0);
}

/** Search; files are sent as parts of a form. */
export function search(request: Request, signal: AbortSignal): Promise<Answer> {
  const form = new FormData();
  const terms = activeTerms(request).map((term, at) => {
    const { kind, value, weight } = term;
    const file = uploadOf(term)?.file;
    if (!file) return { kind, value, weight };
    form.append(`upload-${at}`, file, file.name);
    return { kind, upload: `upload-${at}`, weight };
  });
  const query = JSON.stringify({ terms, to: request.to, k: request.k, where: compile(request.filters) });
  if ([...form.keys()].length === 0)
    return fetchJson("/api/search", {
      method: "POST",
      body: query,
      headers: { "content-type": "application/json" },
      signal,
    });
  form.append("query", query);
  return fetchJson("/api/search", { method: "POST", body: form, signal });
}

async function fetchJson<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ApiError("unreachable", "The server does not answer. Is it still running?", 0);
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  const problem = (body as { error?: { kind?: string; message?: string } } | null)?.error;
  throw new ApiError(
    problem?.kind ?? "unexpected",
    problem?.message ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
    response.status === 503 ? seconds(response.headers.get("retry-after")) : null,
  );
}

function seconds(header: string | null): number {
  const value = Number(header);
  return header !== null && value > 0 ? Math.min(value, 60) : 2;
}
