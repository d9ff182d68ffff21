// A WebSocket client in a page. It works under any base address: direct, or behind a notebook server's proxy.
const root = new URL("..", document.baseURI);
const element = (id) => document.getElementById(id);
let socket = null;
let opened = false;

element("path").value = new URLSearchParams(location.search).get("path") ?? "/ws/echo/";

function show(sign, text) {
  const row = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  const mark = document.createElement("b");
  mark.textContent = sign;
  const content = document.createElement("span");
  content.textContent = text; // textContent: whatever arrives is shown, never run
  row.append(time, mark, content);
  element("log").prepend(row);
  while (element("log").children.length > 200) element("log").lastChild.remove();
}

function state(name, text) {
  element("state").dataset.state = name;
  element("state").textContent = text;
  element("toggle").textContent = name === "open" || name === "connecting" ? "Disconnect" : "Connect";
  element("text").disabled = element("send").disabled = name !== "open";
}

function connect() {
  const url = new URL(element("path").value.replace(/^\/+/, ""), root);
  url.protocol = url.protocol.replace("http", "ws");
  opened = false;
  state("connecting", "connecting …");
  const mine = (socket = new WebSocket(url));
  mine.binaryType = "arraybuffer";
  mine.onopen = () => {
    opened = true;
    state("open", "connected");
    show("●", `connected to ${element("path").value}`);
  };
  mine.onmessage = (event) =>
    show("◀", typeof event.data === "string" ? event.data : `${event.data.byteLength} bytes`);
  mine.onclose = (event) => {
    if (socket === mine) socket = null;
    const how = `code ${event.code}`;
    state(opened ? "closed" : "refused", opened ? `closed: ${how}` : `refused: ${how}`);
    show("✕", opened ? `closed: ${how}` : `the handshake was refused; all that a page can see is ${how}`);
  };
}

element("address").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) socket.close(1000);
  else connect();
});

element("message").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(element("text").value);
  show("▶", element("text").value);
  element("text").value = "";
});

connect();
