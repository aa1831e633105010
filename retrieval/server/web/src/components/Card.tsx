/** One result in the grid. Its large button opens it; Tab leads from there to the small ones. */

import { useState } from "preact/hooks";
import { isPlaying, playing, toggle } from "../player";
import { compose, moreLike, notice } from "../store";
import { SUBTRACT_WEIGHT } from "../terms";
import type { Hit } from "../types";
import { figure, fileName, rarity, singular, span } from "../words";
import { Icon } from "./icons";
import type { Scale } from "./Why";
import { ContributionBar } from "./Why";

interface Props {
  hit: Hit;
  scale: Scale;
  /** Whether Tab reaches this card: only one card of the grid is reachable by Tab, the others by arrow keys. */
  current: boolean;
  onCurrent: () => void;
  onOpen: () => void;
}

export function Card({ hit, scale, current, onCurrent, onOpen }: Props) {
  const [inline, setInline] = useState(false);
  const tab = current ? 0 : -1;
  const name = fileName(hit.id);
  const label = `${hit.rank}. ${singular(hit.modality)}: ${hit.text ?? hit.id}, score ${figure(hit.score)}`;
  const playable = hit.media !== null && (hit.modality === "audio" || hit.modality === "video");
  const play = () => (hit.modality === "audio" ? toggle(hit) : setInline(true));
  return (
    <li class={`card ${hit.modality}`} onFocusCapture={onCurrent}>
      {inline && hit.media ? (
        <video
          class="inline"
          src={fragment(hit)}
          controls
          autoplay
          playsinline
          aria-label={hit.id}
          onError={() => {
            setInline(false);
            notice.value = `This browser cannot play ${name}.`;
          }}
        />
      ) : (
        <button class="open" tabIndex={tab} aria-label={label} title={hit.id} onClick={onOpen}>
          <Preview hit={hit} />
        </button>
      )}
      {playable && !inline && (
        <button class="play" tabIndex={tab} onClick={play} aria-pressed={isPlaying(hit)}>
          <Icon name={isPlaying(hit) ? "pause" : "play"} />
          <span class="unseen">
            {isPlaying(hit) ? "Stop" : "Play"} {hit.id}
          </span>
        </button>
      )}
      <div class="foot">
        <span class="name" title={hit.id}>
          <bdi>{name}</bdi>
        </span>
        <span class="score" title={["Score", rarity(hit.percentile)].filter(Boolean).join(", ")}>
          {figure(hit.score)}
        </span>
        <ContributionBar hit={hit} scale={scale} />
      </div>
      <div class="actions">
        <Action icon="like" tab={tab} name="More like this (m)" onClick={() => moreLike(hit)} />
        <Action icon="plus" tab={tab} name="Add to the query (+)" onClick={() => compose(hit, 1)} />
        <Action
          icon="minus"
          tab={tab}
          name="Subtract from the query (−)"
          onClick={() => compose(hit, SUBTRACT_WEIGHT)}
        />
      </div>
    </li>
  );
}

function Action(props: { icon: "like" | "plus" | "minus"; name: string; tab: number; onClick: () => void }) {
  return (
    <button tabIndex={props.tab} title={props.name} aria-label={props.name} onClick={props.onClick}>
      <Icon name={props.icon} />
    </button>
  );
}

function Preview({ hit }: { hit: Hit }) {
  if (hit.text !== null)
    return (
      <span class="caption" dir="auto">
        {hit.text}
      </span>
    );
  const moment = span(hit.start, hit.end);
  return (
    <>
      {hit.thumbnail ? <Thumbnail key={hit.thumbnail} hit={hit} /> : <Absent hit={hit} />}
      {isPlaying(hit) && (
        <span class="progress" style={{ transform: `scaleX(${playing.value?.progress ?? 0})` }} />
      )}
      {moment && <span class="moment">{moment}</span>}
    </>
  );
}

/** The picture fills its tile if that cuts off little; otherwise it is shown whole. */
function Thumbnail({ hit }: { hit: Hit }) {
  const [fit, setFit] = useState<"whole" | "fill" | "absent">("whole");
  if (fit === "absent") return <Absent hit={hit} />;
  return (
    <img
      class={`picture ${fit}`}
      src={hit.thumbnail!}
      srcset={`${hit.thumbnail}?size=512 2x`}
      alt=""
      loading={hit.rank > 12 ? "lazy" : "eager"}
      decoding="async"
      onLoad={({ currentTarget: { naturalWidth: width, naturalHeight: height } }) => {
        const ratio = width / height;
        if (hit.modality !== "audio" && ratio > 0.8 && ratio < 1.8 && width >= 160) setFit("fill");
      }}
      onError={() => setFit("absent")}
    />
  );
}

function Absent({ hit }: { hit: Hit }) {
  return (
    <span class="absent">
      <Icon name={hit.modality} />
      no preview
    </span>
  );
}

/** The URL of the media with the hit's time span as a fragment. */
export function fragment(hit: Hit, toEnd = false): string {
  if (hit.start === null) return hit.media!;
  return `${hit.media}#t=${hit.start}${toEnd || hit.end === null ? "" : `,${hit.end}`}`;
}
