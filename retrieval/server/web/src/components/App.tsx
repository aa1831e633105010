/** The whole page. */

import { answer, info, infoError, notice, phase } from "../store";
import { counted } from "../words";
import { Chips } from "./Chips";
import { DropZone } from "./DropZone";
import { FilterButton, Filters } from "./Filters";
import { Grid } from "./Grid";
import { Help, helping } from "./Help";
import { Icon } from "./icons";
import { SearchBar } from "./SearchBar";
import { Busy, Empty, Failed, Missing, NoMatch, Skeleton } from "./States";
import { Targets } from "./Targets";
import { ThemeButton } from "./Theme";
import { Viewer } from "./Viewer";

export function App() {
  return (
    <>
      <header class="top">
        <a class="brand" href="/" aria-label="xmodal: start page">
          <Mark />
          <span>xmodal</span>
        </a>
        {info.value && <SearchBar />}
        <span class="corner">
          <ThemeButton />
          <button class="tool" onClick={() => (helping.value = true)} title="Help and keys (?)">
            <Icon name="help" />
            <span class="unseen">Help and keys</span>
          </button>
        </span>
      </header>
      <main>
        {phase.value.name !== "empty" && <h1 class="unseen">Search results</h1>}
        {info.value && (
          <>
            <Chips />
            <div class="controls">
              <Targets />
              <FilterButton />
              <Summary />
            </div>
            <Filters />
          </>
        )}
        {notice.value && (
          <p class="notice" role="alert">
            {notice.value}
            <button class="tool" onClick={() => (notice.value = null)}>
              <Icon name="close" />
              <span class="unseen">Dismiss</span>
            </button>
          </p>
        )}
        <Content />
      </main>
      <p class="unseen" role="status">
        {announcement()}
      </p>
      <Viewer />
      <Help />
      <DropZone />
    </>
  );
}

function Content() {
  const now = phase.value;
  if (infoError.value) return <Failed error={infoError.value} />;
  if (!info.value) return <Skeleton />;
  switch (now.name) {
    case "empty":
      return <Empty />;
    case "missing":
      return <Missing terms={now.terms} />;
    case "failed":
      return <Failed error={now.error} />;
    case "busy":
      return <Busy seconds={now.seconds} />;
    case "loading":
      return answer.value ? <Grid /> : <Skeleton />;
    case "done":
      return answer.value?.response.hits.length ? <Grid /> : <NoMatch />;
  }
}

function Summary() {
  const shown = answer.value;
  if (phase.value.name === "loading") return <span class="summary loading">Searching …</span>;
  if (phase.value.name !== "done" || !shown) return null;
  const { hits, milliseconds } = shown.response;
  return (
    <span class="summary">
      {counted(hits.length, shown.request.to ?? "any")} in {Math.max(1, Math.round(milliseconds))} ms
    </span>
  );
}

/** Status message for screen readers. */
function announcement(): string {
  const now = phase.value;
  if (now.name === "loading") return "Searching";
  if (now.name === "busy") return "The server is busy, waiting";
  if (now.name !== "done" || !answer.value) return "";
  const { hits } = answer.value.response;
  const first = hits[0];
  const best = first ? `. The best: ${first.text ?? first.id}` : "";
  return `${hits.length ? counted(hits.length, answer.value.request.to ?? "any") : "Nothing"} found${best}`;
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path d="M9 9l14 14M23 9L9 23" />
      <circle cx="16" cy="16" r="4.5" />
    </svg>
  );
}
