/** Puts a view on a notebook's page: header, theme, size, visibility, the words where there is nothing to draw. */

import { Header } from "./header.js";
import { Link } from "./link.js";
import { Stage } from "./stage.js";
import STYLE from "./style.css";

/**
 * A module as anywidget takes it.
 * @param {string} name of the widget, as its file is called
 * @param {(stage: Stage) => {paint: Function, resized?: Function, themed?: Function, destroy?: Function}} makeView
 */
export function widget(name, makeView) {
  // Called once for each model, so that all views of a widget share a link.
  return () => {
    let link = null;
    return {
      initialize({ model }) {
        link = new Link(transportOf(model));
        const receive = (_, buffers) => buffers?.length && link.receive(buffers[0]);
        model.on("msg:custom", receive);
        return () => model.off("msg:custom", receive);
      },
      render({ el }) {
        el.classList.add("ml-place");
        const shown = show(name, makeView, el, link);
        return () => shown.destroy();
      },
    };
  };
}

/** Shows a view in an element, for any link: a notebook's, or a dashboard's. */
export function show(name, makeView, el, link) {
  const stage = new Stage(name, el, link, new Header(document), styled);
  stage.begin(makeView(stage));
  return stage;
}

function styled(root) {
  const home = root.getRootNode();
  const place = home instanceof ShadowRoot ? home : document.head;
  if (place.querySelector("style[data-ml]")) return;
  const style = document.createElement("style");
  style.dataset.ml = "";
  style.textContent = STYLE;
  place.append(style);
}

function transportOf(model) {
  return {
    send(message) {
      // A model whose kernel has restarted throws: it has nobody to speak to, and the badge says so.
      try {
        model.send(message);
      } catch (error) {
        if (!/cannot send|comm|kernel|disposed|closed/i.test(String(error))) throw error;
      }
    },
    get: (name) => model.get(name),
    set(name, value) {
      model.set(name, value);
      model.save_changes();
    },
    onChange(name, callback) {
      const changed = () => callback(model.get(name));
      model.on(`change:${name}`, changed);
      return () => model.off(`change:${name}`, changed);
    },
  };
}
