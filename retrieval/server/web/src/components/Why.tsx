/** The score, and what each term of the query contributes to it. */

import { activeTerms } from "../api";
import { colour, kindName } from "../terms";
import type { Hit, Request } from "../types";
import { figure, rarity } from "../words";

/** Range of the axis: the largest sums of negative and of positive contributions over all hits, the same for every bar. */
export interface Scale {
  negative: number;
  positive: number;
}

export function scaleOf(hits: readonly Hit[]): Scale {
  const reach = (sign: 1 | -1) =>
    Math.max(
      0,
      ...hits.map(({ contributions }) => sum(contributions.map((part) => Math.max(0, sign * part)))),
    );
  return { negative: reach(-1), positive: reach(1) };
}

/** A bar under a result: the contributions of all terms on one axis, negative ones to the left of zero. */
export function ContributionBar({ hit, scale }: { hit: Hit; scale: Scale }) {
  return <Bar parts={hit.contributions.map((part, at) => [part, at])} scale={scale} />;
}

/** A table of the contributions, with one row for each term. */
export function Why({ hit, request, scale }: { hit: Hit; request: Request; scale: Scale }) {
  const rare = rarity(hit.percentile);
  return (
    <table class="why">
      <caption>
        Why: score {figure(hit.score)}
        {rare && <span class="soft">, {rare}</span>}
      </caption>
      <tbody>
        {activeTerms(request).map((term, at) => {
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

/** Contributions, each with the index of its term, laid end to end from zero to their side. */
function Bar({ parts, scale }: { parts: [number, number][]; scale: Scale }) {
  const whole = scale.negative + scale.positive || 1;
  const zero = scale.negative / whole;
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
      {scale.negative > 0 && <span class="zero" style={{ left: percent(zero) }} />}
    </span>
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)}%`;
}

function sum(parts: readonly number[]): number {
  return parts.reduce((total, part) => total + part, 0);
}
