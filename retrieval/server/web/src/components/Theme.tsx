/** Colour theme: light, dark, or as the system; remembered. */

import { signal } from "@preact/signals";
import { Icon } from "./icons";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const theme = signal<Theme>("system");

function apply(next: Theme): void {
  theme.value = next;
  if (next === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
}

/** Apply the theme that was chosen last time. */
export function restoreTheme(): void {
  const stored = localStorage.getItem("theme");
  apply(THEMES.find((each) => each === stored) ?? "system");
}

export function ThemeButton() {
  const now = theme.value;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]!;
  return (
    <button
      class="tool"
      title={`Colours: ${now}`}
      onClick={() => {
        apply(next);
        localStorage.setItem("theme", next);
      }}
    >
      <Icon name={now} />
      <span class="unseen">
        Colours: {now}; change to {next}
      </span>
    </button>
  );
}
