import { Deck, OrthographicView, type OrthographicViewState } from "@deck.gl/core";
import { ScatterplotLayer } from "@deck.gl/layers";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, thumbnail, type Bench, type MapData } from "./api";
import { colours, inside, type Colouring, type Point } from "./map-colours";
import { describe, details, failure, selected, text, title } from "./state";
import { describeImage } from "./caption";
import { correctByKey, useKeys } from "./keys";

const MAX_TSNE = 10_000;

export function FeatureMap({ state }: { state: Bench }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const deck = useRef<Deck<OrthographicView> | null>(null);
  const [method, setMethod] = useState("pca");
  const [data, setData] = useState<MapData | null>(null);
  const [colouring, setColouring] = useState<Colouring>("class");
  const [lasso, setLasso] = useState(false);
  const [path, setPath] = useState<Point[]>([]);
  const [hovered, setHovered] = useState<{ index: number; x: number; y: number } | null>(null);

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
    const { clientWidth, clientHeight } = element;
    deck.current = new Deck({
      canvas: element,
      views: new OrthographicView({ flipY: false }),
      initialViewState: {
        target: [0, 0, 0],
        zoom: Math.log2((0.9 * Math.min(clientWidth, clientHeight)) / 2),
        minZoom: 4,
        maxZoom: 20,
      } as OrthographicViewState,
      controller: { keyboard: true, inertia: false },
      getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "default"),
      onError: (error) => void (failure.value = text(error)),
      onHover: ({ index, x, y }) => setHovered(index >= 0 ? { index, x, y } : null),
      onClick: ({ index }, event) => {
        if (index < 0) return;
        const source = event.srcEvent as MouseEvent;
        const next = new Set(source.shiftKey || source.ctrlKey ? selected.value : []);
        if (!next.delete(index)) next.add(index);
        selected.value = next;
      },
    });
    return () => deck.current?.finalize();
  }, []);

  const chosen = selected.value;
  useEffect(() => {
    if (!legend || !count) return;
    const fill = new Uint8Array(legend.rgba);
    if (chosen.size) {
      for (let index = 0; index < count; index++) fill[4 * index + 3] = chosen.has(index) ? 255 : 60;
    }
    const radius = count > 20_000 ? 2 : count > 3_000 ? 3 : 5;
    deck.current?.setProps({
      layers: [
        new ScatterplotLayer({
          id: "images",
          data: {
            length: count,
            attributes: { getPosition: { value: positions, size: 2 }, getFillColor: { value: fill, size: 4, normalized: true } },
          },
          getRadius: radius,
          radiusUnits: "pixels",
          pickable: true,
          autoHighlight: true,
          highlightColor: [255, 200, 0, 255],
        }),
      ],
    });
  }, [legend, positions, chosen]);

  useEffect(() => {
    if (hovered) void describe([hovered.index]);
  }, [hovered?.index, state.version]);

  const finish = () => {
    const viewport = deck.current?.getViewports()[0];
    if (viewport && path.length > 2) {
      const found = new Set<number>();
      for (let index = 0; index < count; index++) {
        const [x, y] = viewport.project([positions[2 * index]!, positions[2 * index + 1]!, 0]);
        if (inside([x!, y!], path)) found.add(index);
      }
      selected.value = found;
    }
    setPath([]);
    setLasso(false);
  };
  const point = (event: PointerEvent): Point => {
    const area = (event.currentTarget as Element).getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
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
  const detail = hovered && details.value.get(hovered.index);
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
        <canvas ref={canvas} tabIndex={0} role="img" aria-label={`Map of ${count} images; the page of all images lists them`} />
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
        {hovered && (
          <div class="tip" style={{ left: `${hovered.x + 14}px`, top: `${Math.max(0, hovered.y - 60)}px` }}>
            <img src={thumbnail(hovered.index)} alt="" />
            <span>{detail ? describeImage(detail) : ""}</span>
          </div>
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
