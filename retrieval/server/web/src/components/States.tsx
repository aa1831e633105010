/** Messages in place of the results. */

import { isModality } from "../address";
import { ApiError } from "../api";
import { changeRequest, info, infoError, loadInfo, request, run, targets, hasEncoder } from "../store";
import { kindName } from "../terms";
import type { Term } from "../types";
import { counted, plural } from "../words";
import { Icon } from "./icons";
import type { IconName } from "./icons";

export function Empty() {
  const available = targets.value.filter(isModality);
  if (!available.length)
    return (
      <Message icon="image" title="This index is empty">
        <p>
          Add pictures, sounds, videos or captions with <code>xmodal index FOLDER --out INDEX</code>, then
          reload this page.
        </p>
      </Message>
    );
  return (
    <section class="hero">
      <h1>Find {joined(available.map((each) => plural(each).toLowerCase()))} by their content</h1>
      <ul class="ways">
        <QueryWay icon="text" title="Words">
          “a red bicycle in the snow”. No tags or file names needed.
        </QueryWay>
        {hasEncoder("image") && (
          <QueryWay icon="file" title="A file">
            Drop, paste or pick a picture{hasEncoder("audio") && ", a sound"}
            {hasEncoder("video") && ", a video"}, and find what is similar to it.
          </QueryWay>
        )}
        {hasEncoder("audio") && (
          <QueryWay icon="microphone" title="A sound">
            Record a sound with the microphone and find similar ones.
          </QueryWay>
        )}
        <QueryWay icon="plus" title="Combinations">
          Add and subtract. For example, add a picture, and subtract a word for what the results should not
          show.
        </QueryWay>
      </ul>
      <p class="soft">
        {counted(info.value?.items ?? 0, "item")}:{" "}
        {available.map((each) => counted(info.value?.modalities[each]?.assets ?? 0, each)).join(", ")}. Press{" "}
        <kbd>?</kbd> for help and keyboard shortcuts.
      </p>
    </section>
  );
}

function QueryWay({
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
          : "Everything of this kind is already part of the query. Search for another kind."}
      </p>
      {filtered && <ClearFilters />}
    </Message>
  );
}

export function Missing({ terms }: { terms: Term[] }) {
  return (
    <Message icon="file" title="A file of this query is missing">
      <p>
        The page's address names files, but does not contain them. Drop, paste or pick{" "}
        {terms.map((term, at) => (
          <>
            {at > 0 && " and "}the {kindName(term)} <bdi>{term.value}</bdi>
          </>
        ))}{" "}
        again, or remove it to search with the rest of the query.
      </p>
    </Message>
  );
}

export function Failed({ error }: { error: Error }) {
  const isPageError = !(error instanceof ApiError);
  // A request that the server refuses fails again on retry. A filter is the most likely reason, so offer to clear it.
  const refused = !isPageError && error.status >= 400 && error.status < 500;
  return (
    <Message icon="alert" title="Something went wrong" alarming>
      <p dir="auto">{isPageError ? `This is an error in the page: ${error.message}` : error.message}</p>
      {refused && request.value.filters.length > 0 && <ClearFilters />}
      {!refused && (
        <button class="pill strong" onClick={() => void (infoError.value ? loadInfo() : run())}>
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
        It has too many requests at the moment. Retrying in {seconds} {seconds === 1 ? "second" : "seconds"}.
      </p>
    </Message>
  );
}

function ClearFilters() {
  return (
    <button class="pill strong" onClick={() => changeRequest({ filters: [] })}>
      Clear filters
    </button>
  );
}

/** Placeholders for the results. */
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
