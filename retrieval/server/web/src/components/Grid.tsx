/** The results, which arrow keys move over. */

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { MAX_RESULTS } from "../address";
import { columnsOf, moved } from "../moving";
import { toggle } from "../player";
import { answer, ask, compose, following, moreLike, opened, phase } from "../store";
import { SUBTRACTED } from "../terms";
import { PAGE_SIZE } from "../types";
import type { Hit } from "../types";
import { Card } from "./Card";
import { scaleOf } from "./Why";

const current = signal(0);

/** What is drawn at once, so that something is seen soon; the others follow when these are on the screen. */
const FIRST = 4;

export const GRID = "results";

/** Put the focus on a result. */
export function focusResult(at: number): void {
  const cards = document.querySelectorAll<HTMLElement>(`#${GRID} > .card`);
  const card = cards[at];
  current.value = at;
  card?.querySelector<HTMLElement>(".open, video")?.focus();
  card?.scrollIntoView({ block: "nearest" });
}

export function Grid() {
  const list = useRef<HTMLOListElement>(null);
  const shown = answer.value;
  const [whole, setWhole] = useState<typeof shown>(null);
  useEffect(() => {
    setWhole(shown);
    if (following.now && shown) focusResult(0);
    else current.value = 0;
    if (shown) following.now = false;
  }, [shown]);
  if (!shown) return null;
  const { hits } = shown.given;
  const scale = scaleOf(hits);
  // When more of the same are shown, none of those that are there may go.
  const drawn = whole === shown || shown.of.k > PAGE_SIZE ? hits : hits.slice(0, FIRST);
  const full = hits.length >= shown.of.k && shown.of.k < MAX_RESULTS;
  return (
    <>
      <ol
        ref={list}
        id={GRID}
        class={`grid ${shown.of.to}`}
        aria-label="Results"
        aria-busy={phase.value.name === "loading"}
        onKeyDown={(event) => onKey(event, list.current!, hits)}
      >
        {drawn.map((hit, at) => (
          <Card
            key={`${hit.asset} ${hit.start}`}
            hit={hit}
            scale={scale}
            current={current.value === at}
            onCurrent={() => (current.value = at)}
            onOpen={() => (opened.value = at)}
          />
        ))}
      </ol>
      {full && (
        <button class="pill more" onClick={() => ask({ k: shown.of.k + PAGE_SIZE }, "replace")}>
          Show more
        </button>
      )}
    </>
  );
}

function onKey(event: KeyboardEvent, list: HTMLElement, hits: readonly Hit[]): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLMediaElement) return;
  const at = current.value;
  const hit = hits[at];
  if (!hit) return;
  const cards = [...list.children].map((card) => card.getBoundingClientRect().top);
  const to = moved(event.key, at, hits.length, columnsOf(cards));
  if (to !== null) focusResult(to);
  else if (event.key === "m") moreLike(hit);
  else if (event.key === "+") compose(hit, 1);
  else if (event.key === "-") compose(hit, SUBTRACTED);
  else if (event.key === "p" && hit.modality === "audio") toggle(hit);
  else return;
  event.preventDefault();
}
