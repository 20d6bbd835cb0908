/** What keys do on a chart. */

const STEP = 5;

/**
 * The command of a key: [what, how much]; null where it has none.
 * @param {{key: string, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean, shiftKey?: boolean}} event
 */
export function command({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (ctrlKey || metaKey || altKey) return null;
  const far = shiftKey ? 10 : 1;
  switch (key) {
    case "ArrowLeft":
      return ["pan", STEP * far];
    case "ArrowRight":
      return ["pan", -STEP * far];
    case "+":
    case "=":
    case "ArrowUp":
      return ["zoom", 0.8];
    case "-":
    case "_":
    case "ArrowDown":
      return ["zoom", 1.25];
    case "Home":
      return ["home"];
    case "End":
      return ["end"];
    default:
      return /^[1-9]$/.test(key) ? ["choose", Number(key) - 1] : null;
  }
}
