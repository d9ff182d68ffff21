// A WebSocket client in a page. It works under any base address: direct, or behind a proxy.
const root = new URL("..", document.baseURI);
const proxied = /\/proxy\/(absolute\/)?\d+\/$/.test(root.pathname);
const element = (id) => document.getElementById(id);
const KEPT = 200; // entries of the log
let socket = null;
let opened = false;

element("path").value = new URLSearchParams(location.search).get("path") ?? "/ws/echo/";
element("origin").textContent = location.origin;
element("proxied").hidden = !proxied;

function show(sign, what, content = "") {
  const row = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString([], { hour12: false, fractionalSecondDigits: 3, hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const mark = document.createElement("b");
  mark.textContent = sign;
  const kind = document.createElement("i");
  kind.textContent = what;
  const text = document.createElement("span");
  text.textContent = content; // textContent: whatever arrives is shown, never run
  row.append(time, mark, kind, text);
  element("log").prepend(row);
  while (element("log").children.length > KEPT) element("log").lastChild.remove();
}

function state(name, text) {
  const open = name === "open";
  element("state").dataset.state = name;
  element("state").textContent = text;
  element("toggle").textContent = open || name === "connecting" ? "Disconnect" : "Connect";
  for (const id of ["text", "kind", "send", "close"]) element(id).disabled = !open;
}

function size(data) {
  return data.byteLength === 1 ? "1 byte" : `${data.byteLength} bytes`;
}

function hex(bytes) {
  const shown = [...bytes.slice(0, 64)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.length > 64 ? `${shown} …` : shown;
}

function address() {
  const given = element("path").value.trim();
  const url = /^wss?:/.test(given) ? new URL(given) : new URL(given.replace(/^\/+/, ""), root);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

function connect() {
  const offered = element("subprotocol").value.split(",").map((each) => each.trim()).filter(Boolean);
  let mine;
  try {
    mine = new WebSocket(address(), offered);
  } catch (error) {
    show("!", "not sent", error.message);
    return;
  }
  socket = mine;
  opened = false;
  state("connecting", "connecting …");
  mine.binaryType = "arraybuffer";
  mine.onopen = () => {
    opened = true;
    state("open", "connected");
    const agreed = mine.protocol ? `, subprotocol ${mine.protocol}` : offered.length ? ", no subprotocol" : "";
    show("●", "connected", `to ${element("path").value}${agreed}`);
  };
  mine.onmessage = ({ data }) => {
    if (typeof data === "string") show("◀", "text", data);
    else show("◀", size(data), hex(new Uint8Array(data)));
  };
  mine.onclose = (event) => {
    if (socket !== mine) return;
    socket = null;
    const how = `code ${event.code}${event.reason ? `, ${event.reason}` : ""}`;
    if (!opened) {
      state("refused", `refused: ${how}`);
      show("✕", "refused", `the handshake failed; all that a page can see is ${how}`);
    } else if (mine.asked) {
      state("closed", `closed: code ${mine.asked}, yours`);
      const answer = proxied ? "" : `; the server's own close frame said ${event.code}`;
      show("✕", "closed", `by this page with code ${mine.asked}${answer}`);
    } else if (proxied && event.code === 1005) {
      state("closed", "closed, code hidden");
      show("✕", "closed", "the proxy hides the code; a refused handshake looks the same");
    } else {
      state("closed", `closed: ${how}`);
      show("✕", "closed", how);
    }
  };
}

function payload(kind, text) {
  if (kind === "bytes") {
    const digits = text.replace(/0x|[\s,]/g, "");
    if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error("expected pairs of hex digits, such as 00 ff 7b");
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }
  if (kind === "json") JSON.parse(text); // only to refuse what is none: what was typed is what is sent
  return text;
}

element("address").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) socket.close(1000);
  else connect();
});

element("message").addEventListener("submit", (event) => {
  event.preventDefault();
  const kind = element("kind").value;
  const text = element("text").value;
  let data;
  try {
    data = payload(kind, text);
  } catch (error) {
    show("!", "not sent", error.message); // and what was typed stays where it is
    return;
  }
  socket.send(data);
  if (kind === "bytes") show("▶", size(data), hex(data));
  else show("▶", kind === "json" ? "JSON" : "text", text);
  element("text").value = "";
});

element("options").addEventListener("submit", (event) => event.preventDefault());

element("closing").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = Number(element("code").value);
  if (!socket) {
    show("!", "not sent", "connect first");
  } else if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
    show("!", "not sent", `expected 1000, or 3000 to 4999, found ${code}: other codes are not for pages`);
  } else {
    socket.asked = code; // the server answers with a code of its own, and an event knows that one alone
    socket.close(code, element("reason").value);
    show("▶", "close", `code ${code}`);
  }
});

connect();
