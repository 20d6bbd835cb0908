/** A canvas with one unit for each of the page's pixels, however many the screen has. */

/** Give a canvas the screen's own pixels; tells whether it had others, and so is empty now. */
export function fit(canvas, context, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  const other = canvas.width !== wide || canvas.height !== high;
  if (other) {
    canvas.width = wide;
    canvas.height = high;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return other;
}
