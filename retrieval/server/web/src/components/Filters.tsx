/** Filters for each metadata column of the index. */

import { signal } from "@preact/signals";
import { changeRequest, info, request } from "../store";
import type { Column, Filter, Value } from "../types";
import { Icon } from "./icons";

export const shown = signal(false);

type Kind = Filter["kind"];

function currentFilter<K extends Kind>(kind: K, column?: string): Extract<Filter, { kind: K }> | undefined {
  return request.value.filters.find(
    (filter) => filter.kind === kind && (!("column" in filter) || filter.column === column),
  ) as Extract<Filter, { kind: K }> | undefined;
}

/** Replace the filter of this kind and column; null removes it. */
function setFilter(kind: Kind, column: string | undefined, filter: Filter | null): void {
  const old = currentFilter(kind, column);
  const others = request.value.filters.filter((each) => each !== old);
  changeRequest({ filters: filter ? [...others, filter] : others });
}

export function FilterButton() {
  const count = request.value.filters.length;
  return (
    <button
      class={count ? "pill on" : "pill"}
      aria-expanded={shown.value}
      aria-controls="filters"
      onClick={() => (shown.value = !shown.value)}
    >
      <Icon name="filter" />
      Filters{count > 0 && <span class="count">{count}</span>}
    </button>
  );
}

export function Filters() {
  const columns = info.value?.columns ?? [];
  const expression = currentFilter("expression")?.text ?? "";
  return (
    <section id="filters" class="filters" aria-label="Filters" hidden={!shown.value}>
      <div class="columns">
        {columns.map((column) => (
          <fieldset class="column" key={column.name}>
            <legend>
              <bdi>{column.name}</bdi>
            </legend>
            {isNumber(column) ? <Range column={column} /> : <Texts column={column} />}
          </fieldset>
        ))}
        <fieldset class="column expression">
          <legend>Expression</legend>
          <input
            type="text"
            class="mono"
            aria-label="Filter expression"
            placeholder="year > 2000 and not place like 'Os%'"
            value={expression}
            spellcheck={false}
            onChange={(event) => {
              const text = event.currentTarget.value.trim();
              setFilter("expression", undefined, text ? { kind: "expression", text } : null);
            }}
          />
        </fieldset>
      </div>
      {request.value.filters.length > 0 && (
        <button class="quiet" onClick={() => changeRequest({ filters: [] })}>
          Clear filters
        </button>
      )}
    </section>
  );
}

function isNumber(column: Column): boolean {
  return column.type === "integer" || column.type === "real";
}

function Range({ column }: { column: Column }) {
  const old = currentFilter("range", column.name);
  const bound = (end: "min" | "max") => (
    <label>
      <span class="soft">{end === "min" ? "from" : "to"}</span>
      <input
        type="number"
        step={column.type === "integer" ? 1 : "any"}
        placeholder={String(column[end] ?? "")}
        value={old?.[end] ?? ""}
        onChange={(event) => {
          const written = event.currentTarget.value;
          const now = {
            min: old?.min ?? null,
            max: old?.max ?? null,
            [end]: written === "" ? null : Number(written),
          };
          const hasBound = now.min !== null || now.max !== null;
          setFilter("range", column.name, hasBound ? { kind: "range", column: column.name, ...now } : null);
        }}
      />
    </label>
  );
  return (
    <div class="range">
      {bound("min")}
      {bound("max")}
    </div>
  );
}

function Texts({ column }: { column: Column }) {
  const chosen = currentFilter("values", column.name)?.values ?? [];
  const offered = column.examples.filter((value): value is Exclude<Value, null> => value !== null);
  const values = [...offered, ...chosen.filter((value) => !offered.includes(value))];
  return (
    <>
      {column.type !== "boolean" && (
        <input
          type="text"
          aria-label={`${column.name} contains`}
          placeholder="contains"
          dir="auto"
          value={currentFilter("contains", column.name)?.text ?? ""}
          onChange={(event) => {
            const text = event.currentTarget.value;
            setFilter("contains", column.name, text ? { kind: "contains", column: column.name, text } : null);
          }}
        />
      )}
      <div class="values">
        {values.map((value) => (
          <label key={String(value)}>
            <input
              type="checkbox"
              checked={chosen.includes(value)}
              onChange={(event) => {
                const rest = chosen.filter((other) => other !== value);
                const now = event.currentTarget.checked ? [...rest, value] : rest;
                setFilter(
                  "values",
                  column.name,
                  now.length ? { kind: "values", column: column.name, values: now } : null,
                );
              }}
            />
            <bdi title={String(value)}>{String(value)}</bdi>
          </label>
        ))}
      </div>
    </>
  );
}
