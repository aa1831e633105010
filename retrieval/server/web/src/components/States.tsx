/** What stands where the results would, when there are none. */

import { isModality } from "../address";
import { ApiError } from "../api";
import { ask, info, infoError, learn, request, run, targets, understands } from "../store";
import { kindName } from "../terms";
import type { Term } from "../types";
import { counted, plural } from "../words";
import { Icon } from "./icons";
import type { IconName } from "./icons";

export function Empty() {
  const held = targets.value.filter(isModality);
  if (!held.length)
    return (
      <Message icon="image" title="This index is empty">
        <p>
          Add pictures, sounds, videos or captions with <code>xmodal index FOLDER --out INDEX</code>, then
          load this page again.
        </p>
      </Message>
    );
  return (
    <section class="hero">
      <h1>Find {joined(held.map((each) => plural(each).toLowerCase()))} by what they are like</h1>
      <ul class="ways">
        <Way icon="text" title="Words">
          “a red bicycle in the snow”. No tags or file names needed.
        </Way>
        {understands("image") && (
          <Way icon="file" title="A file">
            Drop, paste or pick a picture{understands("audio") && ", a sound"}
            {understands("video") && ", a video"}, and find what goes with it.
          </Way>
        )}
        {understands("audio") && (
          <Way icon="microphone" title="A sound">
            Record what you hear, or hum what you remember.
          </Way>
        )}
        <Way icon="plus" title="Combinations">
          Add and subtract: a picture, and words for what it should have, or should not.
        </Way>
      </ul>
      <p class="soft">
        {counted(info.value?.items ?? 0, "item")}:{" "}
        {held.map((each) => counted(info.value?.modalities[each]?.assets ?? 0, each)).join(", ")}. Press{" "}
        <kbd>?</kbd> for the keys.
      </p>
    </section>
  );
}

function Way({
  icon,
  title,
  children,
}: {
  icon: IconName;
  title: string;
  children: preact.ComponentChildren;
}) {
  return (
    <li>
      <Icon name={icon} />
      <h2>{title}</h2>
      <p>{children}</p>
    </li>
  );
}

export function NoMatch() {
  const filtered = request.value.filters.length > 0;
  return (
    <Message icon="search" title="Nothing matches">
      <p>
        {filtered
          ? "No item meets the filters."
          : "Everything there is of this kind is part of the query itself. Look for another kind."}
      </p>
      {filtered && <ClearFilters />}
    </Message>
  );
}

export function Missing({ terms }: { terms: Term[] }) {
  return (
    <Message icon="file" title="This query has a file that is not here">
      <p>
        An address names files but cannot carry them. Drop, paste or pick{" "}
        {terms.map((term, at) => (
          <>
            {at > 0 && " and "}the {kindName(term)} <bdi>{term.value}</bdi>
          </>
        ))}{" "}
        again, or remove it to search with the rest.
      </p>
    </Message>
  );
}

export function Failed({ error }: { error: Error }) {
  const ours = !(error instanceof ApiError);
  // What the server refuses once, it refuses again; a filter is the likeliest reason, and can be taken away.
  const refused = !ours && error.status >= 400 && error.status < 500;
  return (
    <Message icon="alert" title="That did not work" alarming>
      <p dir="auto">{ours ? `The page is at fault: ${error.message}` : error.message}</p>
      {refused && request.value.filters.length > 0 && <ClearFilters />}
      {!refused && (
        <button class="pill strong" onClick={() => void (infoError.value ? learn() : run())}>
          Try again
        </button>
      )}
    </Message>
  );
}

export function Busy({ seconds }: { seconds: number }) {
  return (
    <Message icon="system" title="The server is busy">
      <p>
        Others are searching too. Asking again in {seconds} {seconds === 1 ? "second" : "seconds"}.
      </p>
    </Message>
  );
}

function ClearFilters() {
  return (
    <button class="pill strong" onClick={() => ask({ filters: [] })}>
      Clear filters
    </button>
  );
}

/** Tiles where the results will be. */
export function Skeleton() {
  return (
    <div class="grid skeleton" aria-hidden="true">
      {Array.from({ length: 12 }, (_, at) => (
        <div class="card" key={at}>
          <div class="open" />
          <div class="foot" />
        </div>
      ))}
    </div>
  );
}

function Message(props: {
  icon: IconName;
  title: string;
  alarming?: boolean;
  children: preact.ComponentChildren;
}) {
  return (
    <section
      class={props.alarming ? "message alarming" : "message"}
      {...(props.alarming && { role: "alert" })}
    >
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      {props.children}
    </section>
  );
}

function joined(words: string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
