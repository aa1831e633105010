/** Adds files that are dropped or pasted anywhere on the page to the query. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { addFile } from "../store";
import { Icon } from "./icons";

const over = signal(false);

export function DropZone() {
  useEffect(() => {
    // Every element on the way fires dragleave: only leaving the element entered last counts.
    let last: EventTarget | null = null;
    const listen = new AbortController();
    const on = <K extends keyof WindowEventMap>(name: K, act: (event: WindowEventMap[K]) => void) =>
      addEventListener(name, act, { signal: listen.signal });
    on("dragenter", (event) => {
      last = event.target;
      over.value = event.dataTransfer?.types.includes("Files") ?? false;
    });
    on("dragleave", (event) => {
      if (event.target === last) over.value = false;
    });
    on("dragover", (event) => event.preventDefault());
    on("drop", (event) => {
      event.preventDefault();
      over.value = false;
      for (const file of event.dataTransfer?.files ?? []) addFile(file);
    });
    on("paste", (event) => {
      const files = event.clipboardData?.files ?? [];
      if (files.length) event.preventDefault();
      for (const file of files) addFile(file);
    });
    return () => listen.abort();
  }, []);
  if (!over.value) return null;
  return (
    <div class="drop" aria-hidden="true">
      <Icon name="file" />
      Drop the file to search with it
    </div>
  );
}
