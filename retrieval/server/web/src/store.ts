/** What the page knows, and all that can be done to it. Components read signals and call these functions. */

import { computed, signal } from "@preact/signals";
import { read, write } from "./address";
import { ApiError, asked, fetchInfo, search } from "./api";
import { parseWeighted, withTerm } from "./terms";
import { MODALITIES, NOTHING, PAGE_SIZE } from "./types";
import type { Answer, Hit, Info, Modality, Request, Target, Term } from "./types";
import { isMissing, keep, kindOf } from "./uploads";
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
export const answer = signal<{ of: Request; given: Answer } | null>(null);
/** The place of the hit that is shown large. */
export const opened = signal<number | null>(null);
/** What is told once, for instance why a file was refused. */
export const notice = signal<string | null>(null);

/** What can be found: the modalities, those that people look at first, whole items where the index has them, all. */
export const targets = computed<Target[]>(() => {
  const held = MODALITIES.filter((modality) => info.value?.modalities[modality]?.index);
  const items: Target[] = info.value?.fusion ? ["item"] : [];
  return [...held, ...items, ...(held.length > 1 ? (["any"] as const) : [])];
});

/** What is looked for: as chosen, or what the index has first. */
export const target = computed<Target | null>(() => {
  const chosen = request.value.to;
  return chosen && targets.value.includes(chosen) ? chosen : (targets.value[0] ?? null);
});

/** Whether there are encoders for a query of that kind. */
export function understands(kind: Modality): boolean {
  return info.value?.modalities[kind]?.asks ?? false;
}

// Changing the request

/** Ask for something else; in the address it is a step that "back" undoes, or a correction of the last one. */
export function ask(change: Partial<Request>, step: "push" | "replace" = "push"): void {
  const next = { ...request.value, k: PAGE_SIZE, ...change };
  const search = write(next);
  const address = search ? `?${search}` : location.pathname;
  history[step === "push" ? "pushState" : "replaceState"](next, "", address);
  show(next);
}

/** Search for what stands in the box; `snow^-0.5` becomes a chip. */
export function submit(): void {
  const words = draft.value.trim();
  const { value, weight } = parseWeighted(words);
  if (weight === 1) ask({ text: words });
  else ask({ text: "", terms: withTerm(request.value.terms, { kind: "text", value, weight }) });
}

/** Make the box's words a chip, so that more can be said. */
export function combine(): void {
  const words = draft.value.trim();
  if (!words) return;
  const term: Term = { kind: "text", ...parseWeighted(words) };
  ask({ text: "", terms: withTerm(request.value.terms, term) });
}

/** Whether the next answer takes the focus, since what had it goes away with the last one. */
export const following = { now: false };

export function moreLike(hit: Hit): void {
  following.now = true;
  ask({ text: "", terms: [{ kind: "id", value: hit.id, weight: 1 }] });
}

/** Add a result to the query as it is, or with a negative weight subtract it. */
export function compose(hit: Hit, weight: number): void {
  following.now = true;
  ask({ terms: withTerm(request.value.terms, { kind: "id", value: hit.id, weight }) });
}

export function changeTerm(at: number, term: Term): void {
  ask({ terms: request.value.terms.with(at, term) }, "replace");
}

export function removeTerm(at: number): void {
  ask({ terms: request.value.terms.toSpliced(at, 1) });
}

export function clear(): void {
  ask(NOTHING);
}

/** Take a file as part of the query; it fills the place of one that an address named but could not carry. */
export function addFile(file: File): void {
  const kind = kindOf(file);
  if (!kind) {
    notice.value = `${file.name || "That"} is neither a picture nor a sound nor a video.`;
    return;
  }
  if (!understands(kind)) {
    notice.value = `This index was made without an encoder for ${singular(kind)}s: it cannot be asked by one.`;
    return;
  }
  notice.value = null;
  const terms = request.value.terms;
  const empty = terms.findIndex((term) => term.kind === kind && isMissing(term));
  const weight = terms[empty]?.weight ?? 1;
  const term: Term = { kind, value: file.name || `a ${singular(kind)}`, weight, upload: keep(file, kind) };
  ask({ terms: empty < 0 ? [...terms, term] : terms.with(empty, term) });
}

// Answering it

let running = new AbortController();

/** Search again for what is asked now. */
export async function run(): Promise<void> {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const of = { ...request.value, to: target.value };
  const terms = asked(of);
  const missing = terms.filter(isMissing);
  if (!terms.length || !of.to || missing.length) {
    answer.value = null;
    phase.value = missing.length && terms.length ? { name: "missing", terms: missing } : { name: "empty" };
    return;
  }
  phase.value = { name: "loading" };
  try {
    answer.value = { of, given: await patiently(of, signal) };
    phase.value = { name: "done" };
  } catch (error) {
    if (signal.aborted) return;
    answer.value = null;
    phase.value = { name: "failed", error: error as Error };
  }
}

const PATIENCE = 8;

/** Search, and while the server is busy wait as long as it says and ask again. */
async function patiently(of: Request, signal: AbortSignal): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    try {
      return await search(of, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryAfter === null || tries === PATIENCE) throw error;
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

/** Read the address, ask what the index holds, and answer; later follow back and forward. */
export async function start(): Promise<void> {
  show(read(location.search));
  addEventListener("popstate", (event) => show((event.state as Request | null) ?? read(location.search)));
  await learn();
}

/** Ask what the index holds; everything else waits for it. */
export async function learn(): Promise<void> {
  infoError.value = null;
  try {
    info.value = await fetchInfo();
  } catch (error) {
    infoError.value = error as Error;
    return;
  }
  void run();
}
