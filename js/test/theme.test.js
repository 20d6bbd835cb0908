import assert from "node:assert/strict";
import { test } from "node:test";
import { coloursOf, contrast, faint, luminance, rgb } from "../src/theme.js";

const nothing = () => "";
const page = (variables) => (name) => variables[name] ?? "";
const JUPYTER = {
  light: { "--jp-layout-color0": "white", "--jp-ui-font-color0": "rgba(0, 0, 0, 1)", "--jp-ui-font-color2": "rgba(0, 0, 0, 0.54)" },
  dark: { "--jp-layout-color0": "#111111", "--jp-ui-font-color0": "rgba(255, 255, 255, 1)", "--jp-ui-font-color2": "rgba(255, 255, 255, 0.54)" },
};

test("colours in every spelling", () => {
  assert.deepEqual(rgb("#fff"), [255, 255, 255]);
  assert.deepEqual(rgb(" #26A69A "), [38, 166, 154]);
  assert.deepEqual(rgb("#26a69a80"), [38, 166, 154]);
  assert.deepEqual(rgb("rgba(1, 2, 3, 0.5)"), [1, 2, 3]);
  assert.equal(faint("#000", 0.2), "rgba(0,0,0,0.2)");
});

test("contrast as the W3C counts it", () => {
  assert.equal(contrast("#000", "#fff"), 21);
  assert.equal(contrast("#777777", "#777777"), 1);
  assert.ok(Math.abs(contrast("#767676", "#ffffff") - 4.54) < 0.01);
  assert.equal(luminance("#ffffff"), 1);
});

for (const palette of ["default", "cvd"]) {
  for (const theme of ["light", "dark"]) {
    test(`text of ${palette} can be read on ${theme}, fills can be seen`, () => {
      const colours = coloursOf(nothing, { palette, theme });
      for (const name of ["text", "dim", "upText", "downText"]) {
        for (const ground of ["ground", "raised"]) assert.ok(contrast(colours[name], colours[ground]) >= 4.5, `${name} on ${ground}`);
      }
      // The usual teal has 2.998 on white.
      for (const name of ["up", "down"]) assert.ok(contrast(colours[name], colours.ground) > 2.99, name);
      assert.equal(colours.dark, theme === "dark");
    });
  }
}

test("dark and light are those of the page", () => {
  assert.equal(coloursOf(page(JUPYTER.dark)).dark, true);
  assert.equal(coloursOf(page({ ...JUPYTER.light, "--jp-layout-color0": "#ffffff" })).dark, false);
  assert.equal(coloursOf(nothing, { prefersDark: true }).dark, true);
  assert.equal(coloursOf(page(JUPYTER.dark), { theme: "light" }).dark, false);
  assert.equal(coloursOf(page(JUPYTER.dark)).ground, "#111111");
});

test("text that cannot be read on the page's ground is replaced", () => {
  const colours = coloursOf(page({ "--jp-layout-color0": "#ffffff", "--jp-ui-font-color2": "#cccccc" }));
  assert.ok(contrast(colours.dim, colours.ground) >= 4.5);
});

test("an unknown palette is the usual one", () => {
  assert.equal(coloursOf(nothing, { palette: "pink" }).up, "#26a69a");
});
