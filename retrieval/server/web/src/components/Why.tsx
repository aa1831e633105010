/** The score, and what each term of the query gave to it. */

import { asked } from "../api";
import { colour, kindName } from "../terms";
import type { Hit, Request } from "../types";
import { figure } from "../words";

interface Props {
  hit: Hit;
  /** What was asked. */
  of: Request;
  /** The largest contribution among the hits, which fills the bar. */
  largest: number;
}

/** A line under a result: one stroke a term, what speaks against it to the left. */
export function Strokes({ hit, largest }: Omit<Props, "of">) {
  return (
    <span class="strokes" aria-hidden="true">
      {hit.contributions.map((part, at) => (
        <Bar part={part} at={at} largest={largest} both={hit.contributions.some((other) => other < 0)} />
      ))}
    </span>
  );
}

/** The same with names and figures. */
export function Why({ hit, of, largest }: Props) {
  const terms = asked(of);
  return (
    <table class="why">
      <caption>Why: score {figure(hit.score)}</caption>
      <tbody>
        {terms.map((term, at) => {
          const part = hit.contributions[at] ?? 0;
          return (
            <tr>
              <th scope="row">
                <span class="soft">{kindName(term)}</span> <bdi>{term.value}</bdi>
              </th>
              <td>
                <Bar part={part} at={at} largest={largest} both />
              </td>
              <td class="figure">{figure(part)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function Bar({ part, at, largest, both }: { part: number; at: number; largest: number; both: boolean }) {
  const share = largest > 0 ? Math.min(1, Math.abs(part) / largest) : 0;
  const width = both ? share / 2 : share;
  const left = both ? (part < 0 ? 0.5 - width : 0.5) : 0;
  const style = { "--shade": colour(at), left: `${100 * left}%`, width: `${100 * width}%` };
  return (
    <span class={both ? "stroke both" : "stroke"}>
      <span style={style} />
    </span>
  );
}

/** The largest contribution of any term to any of the hits. */
export function largestOf(hits: readonly Hit[]): number {
  return Math.max(0, ...hits.flatMap((hit) => hit.contributions.map(Math.abs)));
}
