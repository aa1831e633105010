/** Arrow-key navigation in a grid. */

const STEPS: Record<string, (columns: number) => number> = {
  ArrowLeft: () => -1,
  ArrowRight: () => 1,
  ArrowUp: (columns) => -columns,
  ArrowDown: (columns) => columns,
};

/** Return the index that `key` leads to from index `at`, in a grid of `count` elements in rows of `columns`; null for
 * other keys. */
export function nextIndex(key: string, at: number, count: number, columns: number): number | null {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const step = STEPS[key]?.(columns);
  if (step === undefined) return null;
  const to = at + step;
  // From the row above a short last row, down leads to the last element.
  if (key === "ArrowDown" && to >= count && rowOf(at, columns) < rowOf(count - 1, columns)) return count - 1;
  return to < 0 || to >= count ? at : to;
}

function rowOf(at: number, columns: number): number {
  return Math.floor(at / columns);
}

/** Return the number of elements in the first row, from the top positions of all. */
export function columnsOf(tops: readonly number[]): number {
  const second = tops.findIndex((top) => Math.abs(top - (tops[0] ?? 0)) > 1);
  return second < 0 ? Math.max(1, tops.length) : second;
}
