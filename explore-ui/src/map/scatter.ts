// Draws many points on a canvas with the CPU. Without a GPU, this takes less time than WebGL.

export interface Cloud {
  positions: Float32Array; // x and y of each point, in [-1, 1]
  colours: Uint32Array; // 0xAABBGGRR: the bytes R, G, B and A of ImageData on little-endian computers
  chosen: Uint8Array | null; // 1 for each selected point; null if none is selected
}

// Zoom and translation in CSS pixels, as d3-zoom gives them.
export interface View {
  k: number;
  x: number;
  y: number;
}

const MANY = 20_000; // above this number, points are small squares, and the resolution is that of CSS pixels
const MAX_SIZE = 10; // largest diameter of a point in CSS pixels
const FILL = 0.45; // half of the share of the canvas that the map fills at first
const OPAQUE = 210; // of 256
const DIMMED = 60;

export class Scatter {
  cloud: Cloud = { positions: new Float32Array(), colours: new Uint32Array(), chosen: null };
  view: View = { k: 1, x: 0, y: 0 };
  private context: CanvasRenderingContext2D;
  private image = new ImageData(1, 1);
  private pixels = new Uint32Array(1);
  private frame = 0;

  constructor(private canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d", { alpha: false })!;
  }

  // Draws at the next frame; several calls before that draw once.
  redraw(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
  }

  // Position of a point in CSS pixels.
  project(index: number): [number, number] {
    const { scale, left, top } = this.place();
    const { positions } = this.cloud;
    return [left + scale * positions[2 * index]!, top - scale * positions[2 * index + 1]!];
  }

  // The nearest point that covers the position, given in CSS pixels, or -1.
  nearest(x: number, y: number): number {
    const { scale, left, top } = this.place();
    const { positions } = this.cloud;
    const across = (x - left) / scale;
    const up = (top - y) / scale;
    let least = (Math.max(4, this.size() / 2 + 1) / scale) ** 2;
    let found = -1;
    for (let at = 0; at < positions.length; at += 2) {
      const distance = (positions[at]! - across) ** 2 + (positions[at + 1]! - up) ** 2;
      if (distance <= least) {
        least = distance;
        found = at / 2;
      }
    }
    return found;
  }

  // Diameter of a point in CSS pixels: it grows with the zoom.
  private size(): number {
    const count = this.cloud.colours.length;
    const base = count > MANY ? 2 : count > 3_000 ? 5 : MAX_SIZE;
    return Math.max(base, Math.min(MAX_SIZE, base * Math.sqrt(this.view.k)));
  }

  private place(): { scale: number; left: number; top: number } {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { k, x, y } = this.view;
    return { scale: k * FILL * Math.min(width, height), left: x + (k * width) / 2, top: y + (k * height) / 2 };
  }

  private draw(): void {
    const { canvas, cloud } = this;
    const ratio = cloud.colours.length > MANY ? 1 : devicePixelRatio;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    const size = Math.round(this.size() * ratio);
    // The image is larger than the canvas on all sides, so that no point crosses its edge.
    const margin = Math.ceil(MAX_SIZE * ratio) + 1;
    const stride = width + 2 * margin;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (this.image.width !== stride || this.image.height !== height + 2 * margin) {
      this.image = new ImageData(stride, height + 2 * margin);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(packed(getComputedStyle(canvas).backgroundColor));
    const place = this.place();
    const area = { scale: place.scale * ratio, left: place.left * ratio, top: place.top * ratio, margin, width, height };
    const points = stamp(size);
    if (cloud.chosen) {
      this.paint(points, size, area, DIMMED, 0);
      this.paint(points, size, area, 256, 1);
    } else {
      this.paint(points, size, area, OPAQUE, null);
    }
    this.context.putImageData(this.image, -margin, -margin);
  }

  // Paints the points whose value in `chosen` is `part`.
  private paint(points: Uint16Array, size: number, area: Area, alpha: number, part: number | null): void {
    const { pixels } = this;
    const { positions, colours, chosen } = this.cloud;
    const stride = area.width + 2 * area.margin;
    const left = area.left + area.margin - size / 2;
    const top = area.top + area.margin - size / 2;
    const right = area.width + 2 * area.margin - size;
    const bottom = area.height + 2 * area.margin - size;
    for (let index = 0; index < colours.length; index++) {
      if (part !== null && chosen![index] !== part) continue;
      const column = Math.round(left + area.scale * positions[2 * index]!);
      const row = Math.round(top - area.scale * positions[2 * index + 1]!);
      if (column < 0 || row < 0 || column > right || row > bottom) continue;
      const colour = colours[index]!;
      let at = row * stride + column;
      for (let point = 0; point < points.length; at += stride - size) {
        for (const end = point + size; point < end; point++, at++) {
          const cover = (points[point]! * alpha) >> 8;
          pixels[at] = cover === 256 ? colour : blend(pixels[at]!, colour, cover);
        }
      }
    }
  }
}

interface Area {
  scale: number;
  left: number;
  top: number;
  margin: number;
  width: number;
  height: number;
}

// Coverage of the pixels of a point, of 256: a disc, or a square if it is small.
function stamp(size: number): Uint16Array {
  const result = new Uint16Array(size * size).fill(256);
  if (size < 4) return result;
  const middle = (size - 1) / 2;
  return result.map((_, at) => {
    const distance = Math.hypot((at % size) - middle, Math.floor(at / size) - middle);
    return Math.round(256 * Math.min(1, Math.max(0, size / 2 + 0.5 - distance)));
  });
}

function blend(under: number, colour: number, cover: number): number {
  const rest = 256 - cover;
  const redAndBlue = (Math.imul(under & 0xff00ff, rest) + Math.imul(colour & 0xff00ff, cover)) >>> 8;
  const green = (Math.imul(under & 0xff00, rest) + Math.imul(colour & 0xff00, cover)) >>> 8;
  return 0xff000000 | (redAndBlue & 0xff00ff) | (green & 0xff00);
}

// The number of a colour such as "rgb(1, 2, 3)".
function packed(css: string): number {
  const [red = 0, green = 0, blue = 0] = (css.match(/\d+/g) ?? []).map(Number);
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
