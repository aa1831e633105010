/** The server, asked. */

import { compile } from "./where";
import type { Answer, Info, Modality, Request, Term } from "./types";
import { uploadOf } from "./uploads";

/** What went wrong, in the server's words where it had any. */
export class ApiError extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status: number,
    /** Seconds after which a busy server wants to be asked again. */
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

/** What the index holds. */
export function fetchInfo(): Promise<Info> {
  return ask<Info>("/api/info", {});
}

/** All that the index has of an item. */
export async function fetchItem(id: string, signal: AbortSignal): Promise<ItemAsset[]> {
  return (await ask<{ assets: ItemAsset[] }>(`/api/items/${encodeURIComponent(id)}`, { signal })).assets;
}

/** The terms as they are sent: the box's words first, then the chips; those of no weight say nothing. */
export function asked(request: Request): Term[] {
  const words: Term[] = request.text ? [{ kind: "text", value: request.text, weight: 1 }] : [];
  return [...words, ...request.terms].filter((term) => term.weight !== 0);
}

/** Search; files go along as parts of a form. */
export function search(request: Request, signal: AbortSignal): Promise<Answer> {
  const form = new FormData();
  const terms = asked(request).map((term, at) => {
    const { kind, value, weight } = term;
    const file = uploadOf(term)?.file;
    if (!file) return { kind, value, weight };
    form.append(`upload-${at}`, file, file.name);
    return { kind, upload: `upload-${at}`, weight };
  });
  const query = JSON.stringify({ terms, to: request.to, k: request.k, where: compile(request.filters) });
  if ([...form.keys()].length === 0)
    return ask("/api/search", {
      method: "POST",
      body: query,
      headers: { "content-type": "application/json" },
      signal,
    });
  form.append("query", query);
  return ask("/api/search", { method: "POST", body: form, signal });
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ApiError("unreachable", "The server does not answer. Is it still running?", 0);
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  const said = (body as { error?: { kind?: string; message?: string } } | null)?.error;
  throw new ApiError(
    said?.kind ?? "unexpected",
    said?.message ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
    response.status === 503 ? seconds(response.headers.get("retry-after")) : null,
  );
}

function seconds(header: string | null): number {
  const wanted = Number(header);
  return header !== null && wanted > 0 ? Math.min(wanted, 60) : 2;
}
