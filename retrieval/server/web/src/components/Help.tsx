/** Help on searching, and the keyboard shortcuts. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icons";

export const helping = signal(false);

const KEYS: [string[], string][] = [
  [["/"], "go to the search box"],
  [["Enter"], "search, or open the focused result"],
  [["Shift", "Enter"], "keep the words as part of the query and add more"],
  [["↓"], "go from the search box to the results"],
  [["←", "↑", "→", "↓"], "move between the results"],
  [["m"], "find more like this result"],
  [["+"], "add this result to the query"],
  [["-"], "subtract this result from the query"],
  [["p"], "play or stop this sound"],
  [["f"], "show or hide the filters"],
  [["Esc"], "close, or discard a recording"],
  [["?"], "show this help"],
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
          <li>Describe what you are looking for in your own words, or drop, paste or pick a file.</li>
          <li>
            Combine as many parts as you like. Each is added to the query or subtracted from it with its
            weight. In the search box, <code>snow^-0.5</code> subtracts snow with weight 0.5.
          </li>
          <li>The page's address contains the whole query except files, so you can bookmark and share it.</li>
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
