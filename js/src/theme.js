/** Colours: the page's own, but for up and down. Dark and light come from the ground that the page has. */

const PALETTES = {
  default: {
    fills: { up: "#26a69a", down: "#ef5350" },
    light: { upText: "#00796b", downText: "#c62828" },
    dark: { upText: "#4db6ac", downText: "#ff8a80" },
  },
  // Okabe and Ito's blue and vermillion, which people tell apart who cannot tell green from red.
  cvd: {
    fills: { up: "#0072B2", down: "#D55E00" },
    light: { upText: "#00629b", downText: "#a84a00" },
    dark: { upText: "#56b4e9", downText: "#ff9e5c" },
  },
};

const GROUNDS = {
  light: { ground: "#ffffff", raised: "#f5f5f5", text: "#1f1f1f", dim: "#616161", line: "#e0e0e0", accent: "#1976d2" },
  dark: { ground: "#111111", raised: "#1c1c1c", text: "#ececec", dim: "#a3a3a3", line: "#333333", accent: "#64b5f6" },
};

const VARIABLES = {
  ground: "--jp-layout-color0",
  raised: "--jp-layout-color1",
  text: "--jp-ui-font-color0",
  dim: "--jp-ui-font-color2",
  line: "--jp-border-color2",
  accent: "--jp-brand-color1",
};

const FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif";

/** Red, green and blue (0 to 255) of any CSS colour. */
export function rgb(colour) {
  const hex = colour.trim().match(/^#([0-9a-f]{3,8})$/i)?.[1];
  if (hex) {
    const wide = hex.length < 6 ? [...hex].map((digit) => digit + digit).join("") : hex;
    return [0, 2, 4].map((at) => parseInt(wide.slice(at, at + 2), 16));
  }
  const parts = colour.match(/[\d.]+/g);
  return parts && parts.length >= 3 ? parts.slice(0, 3).map(Number) : null;
}

/** A colour with an opacity. */
export function faint(colour, opacity) {
  const parts = rgb(colour);
  return parts ? `rgba(${parts.join(",")},${opacity})` : colour;
}

/** The W3C's relative luminance, 0 to 1. */
export function luminance(colour) {
  const parts = rgb(colour);
  if (!parts) return 1;
  const [red, green, blue] = parts.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The W3C's contrast ratio of two colours, 1 to 21. */
export function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((first, second) => first - second);
  return (high + 0.05) / (low + 0.05);
}

/**
 * The colours for a place on the page.
 * @param {(variable: string) => string} read a CSS variable's value at that place; "" where there is none
 * @param {{palette?: string, theme?: string, prefersDark?: boolean}} wish
 */
export function coloursOf(read, { palette = "default", theme = "auto", prefersDark = false } = {}) {
  const own = theme === "auto" ? read(VARIABLES.ground).trim() : "";
  const dark = theme === "dark" || (theme === "auto" && (own ? luminance(own) < 0.4 : prefersDark));
  const base = GROUNDS[dark ? "dark" : "light"];
  const page = {};
  if (own) {
    for (const [name, variable] of Object.entries(VARIABLES)) {
      const value = read(variable).trim();
      if (value) page[name] = value;
    }
  }
  const colours = { ...base, ...page, dark, font: (own && read("--jp-ui-font-family").trim()) || FONT };
  // Some themes' faint text cannot be read on their ground; ours can.
  for (const name of ["text", "dim"]) if (contrast(colours[name], colours.ground) < 4.5) colours[name] = base[name];
  const chosen = PALETTES[palette] ?? PALETTES.default;
  return { ...colours, ...chosen.fills, ...chosen[dark ? "dark" : "light"] };
}

/** Calls back when the page's theme has changed; returns what ends that. */
export function onThemeChange(callback) {
  const observer = new MutationObserver(callback);
  for (const element of [document.body, document.documentElement]) {
    observer.observe(element, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  }
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", callback);
  };
}
