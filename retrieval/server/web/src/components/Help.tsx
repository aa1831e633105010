/** What can be asked, and the keys. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icons";

export const helping = signal(false);

const KEYS: [string[], string][] = [
  [["/"], "go to the search box"],
  [["Enter"], "search; on a result: open it"],
  [["Shift", "Enter"], "keep the words as a part of the query and add more"],
  [["↓"], "from the search box to the results"],
  [["←", "↑", "→", "↓"], "move over the results"],
  [["m"], "more like this result"],
  [["+"], "add this result to the query"],
  [["-"], "subtract it"],
  [["p"], "play or stop this sound"],
  [["f"], "show or hide the filters"],
  [["Esc"], "close; discard a recording"],
  [["?"], "this help"],
];

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (helping.value) dialog.current?.showModal();
  }, [helping.value]);
  return (
    <dialog
      ref={dialog}
      class="help"
      aria-labelledby="help-title"
      onClose={() => (helping.value = false)}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <div class="sheet">
        <header>
          <h2 id="help-title">How to search</h2>
          <button class="tool" onClick={() => dialog.current?.close()} title="Close (Esc)">
            <Icon name="close" />
            <span class="unseen">Close</span>
          </button>
        </header>
        <ul>
          <li>Describe what you look for in your own words, or drop, paste or pick a file.</li>
          <li>
            Combine as much as you like: every part of the query is added or subtracted with its weight. In
            the box, <code>snow^-0.5</code> does the same.
          </li>
          <li>The address holds the whole query but for files, so it can be kept and shared.</li>
        </ul>
        <table class="keys">
          <caption class="unseen">Keys</caption>
          <tbody>
            {KEYS.map(([keys, what]) => (
              <tr key={what}>
                <th scope="row">
                  {keys.map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </th>
                <td>{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </dialog>
  );
}
