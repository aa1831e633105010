/** Keyboard shortcuts for the whole page, except while typing in a field. */

import { shown as filters } from "./components/Filters";
import { focusResult } from "./components/Grid";
import { helping } from "./components/Help";
import { BOX } from "./components/SearchBar";
import { recorder } from "./recorder";

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const box = document.getElementById(BOX) as HTMLInputElement | null;
    if (event.key === "Escape") escape(event);
    else if (event.target === box) {
      if (event.key !== "ArrowDown") return;
      focusResult(0);
    } else if (
      event.target instanceof HTMLElement &&
      event.target.matches("input:not([type=radio]), textarea")
    )
      return;
    else if (event.key === "/") box?.select();
    else if (event.key === "?") helping.value = true;
    else if (event.key === "f") filters.value = !filters.value;
    else return;
    event.preventDefault();
  });
}

function escape(event: KeyboardEvent): void {
  if (recorder.discard()) return;
  if (filters.value) {
    filters.value = false;
    document.querySelector<HTMLElement>("[aria-controls=filters]")?.focus();
  } else if (event.target instanceof HTMLElement) event.target.blur();
}
