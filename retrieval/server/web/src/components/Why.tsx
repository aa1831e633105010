/** The score, and what each term of the query gave to it. */

import { asked } from "../api";
import { colour, kindName } from "../terms";
import type { Hit, Request } from "../types";
import { figure, rarity } from "../words";

/** How far to either side of zero the terms reach together, over all hits: the same axis for every bar. */
export interface Scale {
  against: number;
  for: number;
}

export function scaleOf(hits: readonly Hit[]): Scale {
  const reach = (sign: 1 | -1) =>
    Math.max(
      0,
      ...hits.map(({ contributions }) => sum(contributions.map((part) => Math.max(0, sign * part)))),
    );
  return { against: reach(-1), for: reach(1) };
}

/** A line under a result: all terms on one axis, what speaks against it to the left of zero. */
export function Stroke({ hit, scale }: { hit: Hit; scale: Scale }) {
  return <Bar parts={hit.contributions.map((part, at) => [part, at])} scale={scale} />;
}

/** The same a line each, with names and figures. */
export function Why({ hit, of, scale }: { hit: Hit; of: Request; scale: Scale }) {
  const rare = rarity(hit.percentile);
  return (
    <table class="why">
      <caption>
        Why: score {figure(hit.score)}
        {rare && <span class="soft">, {rare}</span>}
      </caption>
      <tbody>
        {asked(of).map((term, at) => {
          const part = hit.contributions[at] ?? 0;
          return (
            <tr>
              <th scope="row">
                <span class="soft">{kindName(term)}</span> <bdi>{term.value}</bdi>
              </th>
              <td>
                <Bar parts={[[part, at]]} scale={scale} />
              </td>
              <td class="figure">{figure(part)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/** Parts with the places of their terms, laid end to end from zero to their side. */
function Bar({ parts, scale }: { parts: [number, number][]; scale: Scale }) {
  const whole = scale.against + scale.for || 1;
  const zero = scale.against / whole;
  let [left, right] = [zero, zero];
  return (
    <span class="stroke" aria-hidden="true">
      {parts.map(([part, at]) => {
        const width = Math.abs(part) / whole;
        if (part < 0) left -= width;
        else right += width;
        const start = part < 0 ? left : right - width;
        const style = { "--shade": colour(at), left: percent(start), width: percent(width) };
        return <span class="part" style={style} />;
      })}
      {scale.against > 0 && <span class="zero" style={{ left: percent(zero) }} />}
    </span>
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)}%`;
}

function sum(parts: readonly number[]): number {
  return parts.reduce((total, part) => total + part, 0);
}
