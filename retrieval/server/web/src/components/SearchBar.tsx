/** The search box, and buttons for a file and the microphone. */

import { useEffect, useRef } from "preact/hooks";
import { recorder } from "../recorder";
import { addFile, combine, draft, request, submit, hasEncoder } from "../store";
import { clock } from "../words";
import { Icon } from "./icons";

export const BOX = "words";

export function SearchBar() {
  const picker = useRef<HTMLInputElement>(null);
  const kinds = (["image", "audio", "video"] as const).filter(hasEncoder);
  const composed = request.value.terms.length > 0;
  useEffect(() => {
    // On touch devices the focus would open the on-screen keyboard over the page.
    if (matchMedia("(pointer: fine)").matches) document.getElementById(BOX)?.focus();
  }, []);
  return (
    <form
      class="bar"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label class="field">
        <Icon name="search" />
        <span class="unseen">Search for</span>
        <input
          id={BOX}
          type="search"
          value={draft.value}
          onInput={(event) => (draft.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || !event.shiftKey) return;
            event.preventDefault();
            combine();
          }}
          placeholder={composed ? "Add words to the query" : "What are you looking for?"}
          autocomplete="off"
          dir="auto"
          enterkeyhint="search"
        />
      </label>
      <span class="tools">
        {draft.value.trim() && (
          <button
            type="button"
            class="tool"
            onClick={combine}
            title="Keep these words and add more (Shift+Enter)"
          >
            <Icon name="plus" />
            <span class="unseen">Keep these words as part of the query and add more</span>
          </button>
        )}
        {kinds.length > 0 && (
          <button
            type="button"
            class="tool"
            onClick={() => picker.current?.click()}
            title="Search with a picture, a sound or a video: pick a file, or drop or paste it anywhere"
          >
            <Icon name="file" />
            <span class="unseen">Search with a file</span>
          </button>
        )}
        {kinds.includes("audio") && recorder.isAvailable && <Microphone />}
        <button class="go" title="Search (Enter)">
          <Icon name="search" />
          <span class="label">Search</span>
        </button>
      </span>
      <input
        ref={picker}
        type="file"
        hidden
        multiple
        accept={kinds.map((kind) => `${kind}/*`).join(",")}
        onChange={(event) => {
          for (const file of event.currentTarget.files ?? []) addFile(file);
          event.currentTarget.value = "";
        }}
      />
    </form>
  );
}

function Microphone() {
  const seconds = recorder.seconds.value;
  const recording = seconds !== null;
  return (
    <button
      type="button"
      class={recording ? "tool recording" : "tool"}
      aria-pressed={recording}
      onClick={() => void recorder.toggle()}
      title={recording ? "Stop and search (Esc: discard)" : "Record from the microphone"}
    >
      <Icon name={recording ? "stop" : "microphone"} />
      {recording && <span class="clock">{clock(seconds)}</span>}
      <span class="unseen">{recording ? "Stop recording and search" : "Record a sound to search with"}</span>
    </button>
  );
}
