/** Shows one result in a dialog: the medium at the matching time, the score, and the other assets of its item. */

import { useEffect, useRef, useState } from "preact/hooks";
import { fetchItem } from "../api";
import type { ItemAsset } from "../api";
import { stop } from "../player";
import { answer, compose, moreLike, opened } from "../store";
import { SUBTRACT_WEIGHT } from "../terms";
import type { Hit } from "../types";
import { singular, span } from "../words";
import { fragment } from "./Card";
import { focusResult } from "./Grid";
import { Icon } from "./icons";
import { scaleOf, Why } from "./Why";

export function Viewer() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = answer.value;
  const at = opened.value;
  const hits = shown?.response.hits ?? [];
  const hit = at === null ? undefined : hits[at];
  useEffect(() => {
    stop();
    if (hit) dialog.current?.showModal();
    else dialog.current?.close();
  }, [hit === undefined]);
  const turn = (by: number) => {
    if (at !== null && hits[at + by]) opened.value = at + by;
  };
  return (
    <dialog
      ref={dialog}
      class="viewer"
      aria-label={hit && `Result ${hit.rank}: ${hit.id}`}
      onClose={() => {
        const last = opened.value;
        opened.value = null;
        if (last !== null) focusResult(last);
      }}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
      onKeyDown={(event) => {
        if (event.target instanceof HTMLMediaElement) return;
        if (event.key === "ArrowLeft") turn(-1);
        else if (event.key === "ArrowRight") turn(1);
        else if (event.key === "m" && hit) moreLike(hit);
      }}
    >
      {hit && shown && (
        <div class="sheet">
          <header>
            <h2>
              <bdi>{hit.id}</bdi>
            </h2>
            <button class="tool" disabled={hit.rank === 1} onClick={() => turn(-1)} title="Previous (←)">
              <Icon name="previous" />
              <span class="unseen">Previous result</span>
            </button>
            <button class="tool" disabled={hit.rank === hits.length} onClick={() => turn(1)} title="Next (→)">
              <Icon name="next" />
              <span class="unseen">Next result</span>
            </button>
            <button class="tool" onClick={() => dialog.current?.close()} title="Close (Esc)">
              <Icon name="close" />
              <span class="unseen">Close</span>
            </button>
          </header>
          <div class="stage" key={`${hit.asset} ${hit.start}`}>
            <Medium hit={hit} />
          </div>
          <div class="facts">
            <p class="buttons">
              <button class="pill strong" onClick={() => moreLike(hit)}>
                <Icon name="like" /> More like this
              </button>
              <button class="pill" onClick={() => compose(hit, 1)}>
                <Icon name="plus" /> Add
              </button>
              <button class="pill" onClick={() => compose(hit, SUBTRACT_WEIGHT)}>
                <Icon name="minus" /> Subtract
              </button>
              {hit.media && (
                <a class="pill" href={hit.media} target="_blank" rel="noopener">
                  <Icon name="out" /> Original
                </a>
              )}
            </p>
            <Why hit={hit} request={shown.request} scale={scaleOf(hits)} />
            <Others key={hit.id} hit={hit} />
            <Metadata hit={hit} />
          </div>
        </div>
      )}
    </dialog>
  );
}

function Medium({ hit }: { hit: Hit }) {
  const [broken, setBroken] = useState(false);
  const moment = span(hit.start, hit.end);
  if (hit.text !== null)
    return (
      <blockquote dir="auto">
        <p>{hit.text}</p>
      </blockquote>
    );
  if (!hit.media || broken)
    return (
      <p class="absent">
        <Icon name={hit.modality} />
        This {singular(hit.modality)} cannot be shown here{hit.media ? "; open the original instead" : ""}.
      </p>
    );
  const fail = () => setBroken(true);
  if (hit.modality === "image") return <img src={hit.media} alt={hit.id} onError={fail} />;
  if (hit.modality === "item") return <img src={`${hit.thumbnail}?size=512`} alt={hit.id} onError={fail} />;
  return (
    <>
      {hit.modality === "video" ? (
        <video src={fragment(hit, true)} controls autoplay playsinline aria-label={hit.id} onError={fail} />
      ) : (
        <>
          {hit.thumbnail && <img class="wave" src={hit.thumbnail} alt="" />}
          <audio src={fragment(hit, true)} controls autoplay aria-label={hit.id} onError={fail} />
        </>
      )}
      {moment && <p class="soft">The match is at {moment}; playback starts there.</p>}
    </>
  );
}

/** The item's other assets, for example the captions of a picture or the picture of a caption. */
function Others({ hit }: { hit: Hit }) {
  const [assets, setAssets] = useState<ItemAsset[]>([]);
  useEffect(() => {
    const leaving = new AbortController();
    fetchItem(hit.id, leaving.signal).then(setAssets, () => {}); // on an error the hit itself is still shown
    return () => leaving.abort();
  }, [hit.id]);
  const texts = assets.filter((other) => other.text !== null && other.asset !== hit.asset);
  // Leave out the hit's own segments, and a video's sound track as a sound. For an item that is represented by the
  // thumbnail of its video or sound, show that file too, so that it can be played.
  const shown = (other: ItemAsset) =>
    other.path === hit.path && (hit.modality !== "item" || other.modality === "image");
  const media = assets.filter((other) => other.media && other.start === null && !shown(other));
  return (
    <>
      {texts.length > 0 && (
        <ul class="captions" aria-label="Captions">
          {texts.map((other) => (
            <li dir="auto">{other.text}</li>
          ))}
        </ul>
      )}
      {media.map((other) => (
        <Other asset={other} />
      ))}
    </>
  );
}

function Other({ asset }: { asset: ItemAsset }) {
  const label = `The item's ${singular(asset.modality)}`;
  if (asset.modality === "image")
    return <img class="other" src={asset.thumbnail ?? asset.media!} alt={label} />;
  if (asset.modality === "audio")
    return <audio src={asset.media!} controls preload="none" aria-label={label} />;
  return (
    <video
      class="other"
      src={asset.media!}
      {...(asset.thumbnail && { poster: asset.thumbnail })}
      controls
      preload="none"
      aria-label={label}
    />
  );
}

function Metadata({ hit }: { hit: Hit }) {
  const rows = Object.entries(hit.metadata).filter(([, value]) => value !== null);
  return (
    <dl class="metadata">
      {hit.path && (
        <div>
          <dt>file</dt>
          <dd>
            <bdi>{hit.path}</bdi>
          </dd>
        </div>
      )}
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>
            <bdi>{name}</bdi>
          </dt>
          <dd>
            <bdi>{String(value)}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}
