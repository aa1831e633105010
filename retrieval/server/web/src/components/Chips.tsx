/** Chips: the parts of the query besides the search box. Each can be weighted, subtracted and removed. */

import { useState } from "preact/hooks";
import { changeTerm, clear, removeTerm, request } from "../store";
import { clampWeight, colour, flipped, kindName, MAX_WEIGHT, signed } from "../terms";
import type { Term } from "../types";
import { isMissing, uploadOf } from "../uploads";
import { Icon } from "./icons";

export function Chips() {
  const { terms, text } = request.value;
  if (!terms.length) return null;
  const first = text ? 1 : 0;
  const uploads = terms.some((term) => uploadOf(term));
  return (
    <div class="query">
      <ul class="chips" aria-label="Parts of the query">
        {terms.map((term, at) => (
          <Chip key={`${term.kind} ${term.upload ?? term.value}`} term={term} at={at} shade={first + at} />
        ))}
        <li>
          <button class="quiet" onClick={clear}>
            Clear all
          </button>
        </li>
      </ul>
      {uploads && <p class="note">A link to this page names your files, but cannot share them.</p>}
    </div>
  );
}

/** While the slider moves, the weight is only shown; the search runs when the slider is released. */
function Chip({ term, at, shade }: { term: Term; at: number; shade: number }) {
  const [moving, setMoving] = useState<number | null>(null);
  const upload = uploadOf(term);
  const subtracted = term.weight < 0;
  const name = `${kindName(term)} ${term.value}`;
  const weight = (slider: HTMLInputElement) => clampWeight((subtracted ? -1 : 1) * Number(slider.value));
  return (
    <li class={subtracted ? "chip subtracted" : "chip"} style={{ "--shade": colour(shade) }}>
      <button
        class="sign"
        aria-pressed={subtracted}
        aria-label={`Subtract ${name}`}
        title={subtracted ? "Subtracted; press to add" : "Added; press to subtract"}
        onClick={() => changeTerm(at, flipped(term))}
      >
        <Icon name={subtracted ? "minus" : "plus"} />
      </button>
      {upload?.kind === "image" ? (
        <img class="peek" src={upload.url} alt="" />
      ) : (
        <Icon name={isMissing(term) ? "alert" : term.kind} />
      )}
      <span class="what" title={term.value}>
        {term.kind === "id" && <span class="soft">like </span>}
        <bdi>{term.value}</bdi>
      </span>
      <label class="weight" title="Weight">
        <span class="unseen">Weight of {name}</span>
        <input
          type="range"
          min="0"
          max={MAX_WEIGHT}
          step="0.05"
          value={Math.abs(term.weight)}
          onInput={(event) => setMoving(weight(event.currentTarget))}
          onChange={(event) => {
            setMoving(null);
            changeTerm(at, { ...term, weight: weight(event.currentTarget) });
          }}
        />
        <output>{signed(moving ?? term.weight)}</output>
      </label>
      <button class="remove" aria-label={`Remove ${name}`} title="Remove" onClick={() => removeTerm(at)}>
        <Icon name="close" />
      </button>
    </li>
  );
}
