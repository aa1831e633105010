/** The grid of results, with arrow-key navigation. */

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { MAX_RESULTS } from "../address";
import { columnsOf, nextIndex } from "../navigation";
import { toggle } from "../player";
import { answer, changeRequest, compose, focusNextAnswer, moreLike, opened, phase } from "../store";
import { SUBTRACT_WEIGHT } from "../terms";
import { PAGE_SIZE } from "../types";
import type { Hit } from "../types";
import { Card } from "./Card";
import { scaleOf } from "./Why";

const current = signal(0);

/** Number of cards that are rendered first, so that something is visible soon; the others follow. */
const FIRST_CARDS = 4;

export const GRID = "results";

/** Focus a result. */
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
    if (focusNextAnswer.now && shown) focusResult(0);
    else current.value = 0;
    if (shown) focusNextAnswer.now = false;
  }, [shown]);
  if (!shown) return null;
  const { hits } = shown.response;
  const scale = scaleOf(hits);
  // After "Show more", the results that are already there must stay.
  const drawn = whole === shown || shown.request.k > PAGE_SIZE ? hits : hits.slice(0, FIRST_CARDS);
  const full = hits.length >= shown.request.k && shown.request.k < MAX_RESULTS;
  return (
    <>
      <ol
        ref={list}
        id={GRID}
        class={`grid ${shown.request.to}`}
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
        <button
          class="pill more"
          onClick={() => changeRequest({ k: shown.request.k + PAGE_SIZE }, "replace")}
        >
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
  const to = nextIndex(event.key, at, hits.length, columnsOf(cards));
  if (to !== null) focusResult(to);
  else if (event.key === "m") moreLike(hit);
  else if (event.key === "+") compose(hit, 1);
  else if (event.key === "-") compose(hit, SUBTRACT_WEIGHT);
  else if (event.key === "p" && hit.modality === "audio") toggle(hit);
  else return;
  event.preventDefault();
}
