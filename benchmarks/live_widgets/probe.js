// Runs in the page. `mlSeen` gets [painted, oldest, newest, sent] of every picture that was painted, in microseconds;
// `mlWire` counts what came over WebSockets.
(() => {
  const wire = (window.mlWire = { messages: 0, bytes: 0 });
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        wire.messages += 1;
        wire.bytes += data.byteLength ?? data.length;
      });
    }
  };
  const now = () => (performance.timeOrigin + performance.now()) * 1000;
  // Called in the animation frame that shows the picture.
  const note = (...stamps) => window.mlSeen.push([now(), ...stamps]);

  window.mlWatchWidget = (root) => {
    window.mlSeen = [];
    const told = root.mlView;
    let last = told.last;
    Object.defineProperty(told, "last", {
      configurable: true,
      enumerable: true,
      get: () => last,
      set(frame) {
        last = frame;
        note(frame.oldest, frame.newest, frame.sent);
      },
    });
  };

  window.mlWatchAge = (root) => {
    window.mlAges = [];
    setInterval(() => window.mlAges.push((now() - root.mlView.last.newest) / 1000), 50);
  };

  window.mlWatchPlotly = (figure) => {
    window.mlSeen = [];
    let former = 0;
    figure.on("plotly_afterplot", () => {
      const stamp = figure.data[0].meta;
      if (!stamp || stamp[2] === former) return;
      former = stamp[2];
      requestAnimationFrame(() => note(...stamp));
    });
  };
})();
