/** Choice of what to find. */

import { changeRequest, target, targets } from "../store";
import { plural } from "../words";
import { Icon } from "./icons";

export function Targets() {
  if (targets.value.length < 2) return null;
  return (
    <fieldset class="targets">
      <legend class="unseen">What to find</legend>
      {targets.value.map((each) => (
        <label key={each}>
          <input
            type="radio"
            name="to"
            class="unseen"
            checked={target.value === each}
            onChange={() => changeRequest({ to: each })}
          />
          <span>
            {each !== "any" && <Icon name={each} />}
            {plural(each)}
          </span>
        </label>
      ))}
    </fieldset>
  );
}
