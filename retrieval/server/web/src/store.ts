/** State of the page, and the actions on it. Components read the signals and call the functions. */

import { computed, signal } from "@preact/signals";
import { read, write } from "./address";
import { ApiError, activeTerms, fetchInfo, search } from "./api";
import { parseWeighted, withTerm } from "./terms";
import { MODALITIES, NOTHING, PAGE_SIZE } from "./types";
import type { Answer, Hit, Info, Modality, Request, Target, Term } from "./types";
import { isMissing, kindOf, rememberFile } from "./uploads";
import { singular } from "./words";

export type Phase =
  | { name: "empty" }
  | { name: "loading" }
  | { name: "done" }
  | { name: "missing"; terms: Term[] }
  | { name: "busy"; seconds: number }
  | { name: "failed"; error: Error };

export const info = signal<Info | null>(null);
export const infoError = signal<Error | null>(null);
export const request = signal<Request>(NOTHING);
export const draft = signal("");
export const phase = signal<Phase>({ name: "empty" });
export const answer = signal<{ request: Request; response: Answer } | null>(null);
/** Index of the hit that the viewer shows. */
export const opened = signal<number | null>(null);
/** A message to the user, for example why a file was refused. */
export const notice = signal<string | null>(null);

/** What can be searched for: modalities (visual ones first), whole items if the index has them, and all together. */
export const targets = computed<Target[]>(() => {
  const available = MODALITIES.filter((modality) => info.value?.modalities[modality]?.index);
  const items: Target[] = info.value?.fusion ? ["item"] : [];
  return [...available, ...items, ...(available.length > 1 ? (["any"] as const) : [])];
});

/** The current target: as chosen, or else the first one. */
export const target = computed<Target | null>(() => {
  const chosen = request.value.to;
  return chosen && targets.value.includes(chosen) ? chosen : (targets.value[0] ?? null);
});

/** Return whether the index has an encoder for queries of this modality. */
export function hasEncoder(kind: Modality): boolean {
  return info.value?.modalities[kind]?.asks ?? false;
}

// Changing the request

/** Change the request and search; adds a step to the browser history, or replaces the last one. */
export function changeRequest(change: Partial<Request>, step: "push" | "replace" = "push"): void {
  const next = { ...request.value, k: PAGE_SIZE, ...change };
  const search = write(next);
  const address = search ? `?${search}` : location.pathname;
  history[step === "push" ? "pushState" : "replaceState"](next, "", address);
  show(next);
}

/** Search for the words in the search box; `snow^-0.5` becomes a chip. */
export function submit(): void {
  const words = draft.value.trim();
  const { value, weight } = parseWeighted(words);
  if (weight === 1) changeRequest({ text: words });
  else changeRequest({ text: "", terms: withTerm(request.value.terms, { kind: "text", value, weight }) });
}

/** Turn the words in the search box into a chip, so that more words can be added. */
export function combine(): void {
  const words = draft.value.trim();
  if (!words) return;
  const term: Term = { kind: "text", ...parseWeighted(words) };
  changeRequest({ text: "", terms: withTerm(request.value.terms, term) });
}

/** Whether the next answer takes the focus, because the focused element disappears with the last answer. */
export const focusNextAnswer = { now: false };

export function moreLike(hit: Hit): void {
  focusNextAnswer.now = true;
  changeRequest({ text: "", terms: [{ kind: "id", value: hit.id, weight: 1 }] });
}

/** Add a result to the query, or subtract it by a negative weight. */
export function compose(hit: Hit, weight: number): void {
  focusNextAnswer.now = true;
  changeRequest({ terms: withTerm(request.value.terms, { kind: "id", value: hit.id, weight }) });
}

export function changeTerm(at: number, term: Term): void {
  changeRequest({ terms: request.value.terms.with(at, term) }, "replace");
}

export function removeTerm(at: number): void {
  changeRequest({ terms: request.value.terms.toSpliced(at, 1) });
}

export function clear(): void {
  changeRequest(NOTHING);
}

/** Add a file to the query; it takes the place of a missing file that the URL names. */
export function addFile(file: File): void {
  const kind = kindOf(file);
  if (!kind) {
    notice.value = `${file.name || "This"} is neither a picture nor a sound nor a video.`;
    return;
  }
  if (!hasEncoder(kind)) {
    notice.value = `This index has no encoder for ${singular(kind)}s, so it cannot be searched with one.`;
    return;
  }
  notice.value = null;
  const terms = request.value.terms;
  const empty = terms.findIndex((term) => term.kind === kind && isMissing(term));
  const weight = terms[empty]?.weight ?? 1;
  const term: Term = {
    kind,
    value: file.name || `a ${singular(kind)}`,
    weight,
    upload: rememberFile(file, kind),
  };
  changeRequest({ terms: empty < 0 ? [...terms, term] : terms.with(empty, term) });
}

// Searching

let running = new AbortController();

/** Search for the current request. */
export async function run(): Promise<void> {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const current = { ...request.value, to: target.value };
  const terms = activeTerms(current);
  const missing = terms.filter(isMissing);
  if (!terms.length || !current.to || missing.length) {
    answer.value = null;
    phase.value = missing.length && terms.length ? { name: "missing", terms: missing } : { name: "empty" };
    return;
  }
  phase.value = { name: "loading" };
  try {
    answer.value = { request: current, response: await searchWithRetry(current, signal) };
    phase.value = { name: "done" };
  } catch (error) {
    if (signal.aborted) return;
    answer.value = null;
    phase.value = { name: "failed", error: error as Error };
  }
}

const MAX_TRIES = 8;

/** Search; while the server is busy, wait as long as it says and retry. */
async function searchWithRetry(request: Request, signal: AbortSignal): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    try {
      return await search(request, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryAfter === null || tries === MAX_TRIES) throw error;
      for (let left = Math.ceil(error.retryAfter); left > 0; left--) {
        phase.value = { name: "busy", seconds: left };
        await new Promise((done) => setTimeout(done, 1000));
        signal.throwIfAborted();
      }
    }
  }
}

function show(next: Request): void {
  request.value = next;
  draft.value = next.text;
  opened.value = null;
  document.title =
    [next.text, ...next.terms.map((term) => term.value)].find(Boolean)?.concat(" · xmodal") ?? "xmodal";
  if (info.value) void run();
}

/** Read the URL, load the description of the index and search; later follow the browser history. */
export async function start(): Promise<void> {
  show(read(location.search));
  addEventListener("popstate", (event) => show((event.state as Request | null) ?? read(location.search)));
  await loadInfo();
}

/** Load the description of the index; everything else waits for it. */
export async function loadInfo(): Promise<void> {
  infoError.value = null;
  try {
    info.value = await fetchInfo();
  } catch (error) {
    infoError.value = error as Error;
    return;
  }
  void run();
}
