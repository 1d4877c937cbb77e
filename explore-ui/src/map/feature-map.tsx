import { select } from "d3-selection";
import { zoom, type ZoomBehavior } from "d3-zoom";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, thumbnail, type Bench, type MapData } from "../api";
import { colours, inside, type Colouring, type Point } from "./map-colours";
import { describe, details, failure, selected, text, title } from "../state";
import { describeImage } from "../caption";
import { correctByKey, useKeys } from "../keys";
import { Scatter } from "./scatter";

const MAX_TSNE = 10_000;
const MAX_ZOOM = 4_000;
const TIP_WIDTH = 165; // in CSS pixels, as in style.css
const TIP_HEIGHT = 230;
const ZOOM_STEP = 1.5; // by a key
const STEPS: Record<string, Point> = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

export function FeatureMap({ state }: { state: Bench }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scatter = useRef<Scatter | null>(null);
  const mover = useRef<ZoomBehavior<HTMLCanvasElement, unknown> | null>(null);
  const [method, setMethod] = useState("pca");
  const [data, setData] = useState<MapData | null>(null);
  const [colouring, setColouring] = useState<Colouring>("class");
  const [lasso, setLasso] = useState(false);
  const [path, setPath] = useState<Point[]>([]);
  const [hovered, setHovered] = useState(-1);

  useEffect(() => {
    let wanted = true;
    const load = async () => {
      try {
        const found = await api.map(method);
        if (!wanted) return;
        if (found.points) setData(found);
        else setTimeout(() => wanted && void load(), 1000);
      } catch (error) {
        if (wanted) failure.value = text(error);
      }
    };
    void load();
    return () => void (wanted = false);
  }, [method, state.version]);

  const positions = useMemo(() => new Float32Array(data?.points ?? []), [data]);
  const count = positions.length / 2;
  const legend = useMemo(() => (data ? colours(data, state, colouring, title) : null), [data, state, colouring]);

  useEffect(() => {
    const element = canvas.current!;
    const drawing = (scatter.current = new Scatter(element));
    const redraw = () => drawing.redraw();
    mover.current = zoom<HTMLCanvasElement, unknown>()
      .scaleExtent([0.5, MAX_ZOOM])
      .clickDistance(4)
      .on("start", () => setHovered(-1))
      .on("zoom", ({ transform }) => {
        drawing.view = transform;
        redraw();
      });
    select(element).call(mover.current);
    const resized = new ResizeObserver(redraw);
    resized.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    return () => {
      drawing.stop();
      resized.disconnect();
      dark.removeEventListener("change", redraw);
    };
  }, []);

  const chosen = selected.value;
  useEffect(() => {
    if (!legend || !count) return;
    const mask = chosen.size ? new Uint8Array(count) : null;
    chosen.forEach((index) => (mask![index] = 1));
    scatter.current!.cloud = { positions, colours: legend.packed, chosen: mask };
    scatter.current!.redraw();
  }, [legend, positions, chosen]);

  useEffect(() => {
    if (hovered >= 0) void describe([hovered]);
  }, [hovered, state.version]);

  const finish = () => {
    if (path.length > 2) {
      const found = new Set<number>();
      for (let index = 0; index < count; index++) {
        if (inside(scatter.current!.project(index), path)) found.add(index);
      }
      selected.value = found;
    }
    setPath([]);
    setLasso(false);
  };
  const point = (event: MouseEvent): Point => {
    const area = (event.currentTarget as Element).getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  };
  const choose = (event: MouseEvent) => {
    const index = scatter.current!.nearest(...point(event));
    if (index < 0) return;
    const next = new Set(event.shiftKey || event.ctrlKey ? selected.value : []);
    if (!next.delete(index)) next.add(index);
    selected.value = next;
  };
  const move = (event: KeyboardEvent) => {
    const target = select(canvas.current!);
    const [x, y] = STEPS[event.key] ?? [0, 0];
    if (x || y) {
      event.preventDefault();
      mover.current!.translateBy(target, x / scatter.current!.view.k, y / scatter.current!.view.k);
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      mover.current!.scaleBy(target, event.key === "-" ? 1 / ZOOM_STEP : ZOOM_STEP);
    }
  };
  useKeys((event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      selected.value = new Set();
      setPath([]);
      setLasso(false);
    } else if (event.key === "a") {
      setLasso(!lasso);
    } else {
      correctByKey(event, [...selected.value]);
    }
  });
  const detail = details.value.get(hovered);
  const [x, y] = hovered >= 0 ? scatter.current!.project(hovered) : [0, 0];
  const { clientWidth: width = 0, clientHeight: height = 0 } = canvas.current ?? {};
  return (
    <section class="map" aria-label="Map of the features">
      <div class="filters">
        <label>
          Map{" "}
          <select id="method" value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
            <option value="pca">PCA</option>
            <option value="tsne" disabled={state.images > MAX_TSNE || state.images < 4}>
              t-SNE
            </option>
          </select>
        </label>
        <label>
          Colour{" "}
          <select id="colour" value={colouring} onChange={(event) => setColouring(event.currentTarget.value as Colouring)}>
            <option value="class">class</option>
            {state.labels.length > 0 && <option value="label">label</option>}
            <option value="confidence">confidence</option>
            {state.splits.length > 1 && <option value="split">split</option>}
          </select>
        </label>
        <button aria-pressed={lasso} onClick={() => setLasso(!lasso)} title="Select with a lasso (a)">
          Lasso
        </button>
        <p class="note">Scroll to zoom, drag to move, click to select. Arrow keys move the map, + and − zoom.</p>
      </div>
      <div class="plot">
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`Map of ${count} images; the page of all images lists them`}
          onPointerMove={(event) => event.buttons || setHovered(scatter.current!.nearest(...point(event)))}
          onPointerLeave={() => setHovered(-1)}
          onClick={choose}
          onKeyDown={move}
        />
        {lasso && (
          <svg
            class="lasso"
            role="presentation"
            onPointerDown={(event) => {
              event.currentTarget.setPointerCapture(event.pointerId);
              setPath([point(event)]);
            }}
            onPointerMove={(event) => path.length && setPath([...path, point(event)])}
            onPointerUp={finish}
          >
            <polygon points={path.map((one) => one.join(",")).join(" ")} />
          </svg>
        )}
        {hovered >= 0 && (
          <>
            <i class="ring" style={{ left: `${x}px`, top: `${y}px` }} />
            <div class="tip" style={{ left: `${x + 14 + TIP_WIDTH < width ? x + 14 : x - 14 - TIP_WIDTH}px`, top: `${Math.max(0, Math.min(y - 60, height - TIP_HEIGHT))}px` }}>
              <img src={thumbnail(hovered)} alt="" />
              <span>{detail ? describeImage(detail) : ""}</span>
            </div>
          </>
        )}
        {!data && <p class="empty" role="status">computing the map…</p>}
      </div>
      {legend && (
        <ul class="legend" aria-label="Colours">
          {legend.entries.map(([name, colour]) => (
            <li>
              <i style={{ background: colour }} /> {name}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
