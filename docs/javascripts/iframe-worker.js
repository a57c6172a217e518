// The search runs in a worker, which a browser refuses to a page that is read as a file. There a
// hidden frame takes the worker's place. (mkdocs.yml names this file in place of the shim that the
// plugin `offline` would load from elsewhere.)
"use strict";

if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.inside.document.open();
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
      this.loaded = new Promise(loaded => this.inside.addEventListener("load", loaded));
      this.inside.document.write(`<!doctype html><title>search</title><script src="${url}"></script>`);
      this.inside.document.close();
    }

    async postMessage(data) {
      await this.loaded;
      this.inside.dispatchEvent(new MessageEvent("message", {data}));
    }
  };
}
