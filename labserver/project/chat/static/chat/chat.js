// The chat as people see it. Every address is relative to the page: a proxy may stand in front.
import { Connection, Refused } from "./connection.js";
import { Session, SignedOut } from "./session.js";

const root = new URL("..", document.baseURI);
const element = (id) => document.getElementById(id);
const [box, to, state, log] = ["text", "to", "state", "log"].map(element);
const session = new Session(root);
const SIGNS = { group: "●", single: "◆", system: "i", error: "!" };
const KEPT = 200; // entries of the list
const ONCE_IN = 60_000; // milliseconds
let names = new Map(); // of users, by id
let connectedBefore = false;
let lastWhy = "";
let lastError = ""; // of the server, since the connection held
let expired = false; // so said the server, since the connection held
let replacedAt = -Infinity; // when a token that the server called expired was last replaced
let refreshTimer = 0;
let boxHadFocus = false;

async function address() {
  try {
    showUsers(await session.get("api/users/")); // also tells who is signed out: a proxy hides the close code that would
  } catch (error) {
    if (error instanceof SignedOut) showUser();
    throw error instanceof SignedOut ? new Refused(error.message) : error;
  }
  const url = new URL("infra/ws/", root);
  url.protocol = url.protocol.replace("http", "ws");
  return [url, ["bearer", session.access]]; // not in the URL: that stands in the logs of servers
}

function closed(code) {
  if (code === 4003 && expired && performance.now() - replacedAt > ONCE_IN) {
    replacedAt = performance.now(); // where a clock is wrong, a fresh token is no help, and we must not go round for ever
    session.spoil();
    return { why: "the token has expired" };
  }
  if (code !== 4001 && code !== 4003) return null;
  session.signOut();
  showUser();
  return { refuse: true, why: expired ? "the token has expired" : lastError || "sign in first" };
}

async function refreshSoon() { // so that the connection need not be made again
  clearTimeout(refreshTimer);
  if (!session.access) return;
  refreshTimer = setTimeout(async () => {
    await session.refresh().catch((error) => error instanceof SignedOut && connection.refuse(error.message));
    if (connection.state === "connected") connection.send(JSON.stringify({ type: "demo-token-refresh", content: session.access }));
    refreshSoon();
  }, Math.max(session.due, 1) * 1000);
}

function showUsers(users) {
  names = new Map(users.map(({ id, username }) => [id, username]));
  const [kept] = to.selectedOptions;
  const others = users.filter(({ id }) => id !== session.userId);
  to.replaceChildren(new Option("everyone", ""), ...others.map(({ id, username }) => new Option(username, id)));
  // Whoever was chosen stays so, even without an account by now: a message to one must never become one to all.
  if (kept.value && !names.has(Number(kept.value))) to.append(kept);
  to.value = kept.value;
  showUser();
}

function showUser() {
  const name = document.createElement("b");
  name.textContent = names.get(session.userId) ?? "";
  if (session.access) element("who").replaceChildren("You are ", name, ".");
  else element("who").textContent = "You are not signed in.";
  element("credentials").hidden = Boolean(session.access);
  element("sign-out").hidden = element("toggle").disabled = !session.access;
  element("toggle").disabled = !session.access;
}

function show(kind, who, text) {
  const row = document.createElement("li");
  row.dataset.kind = kind;
  const now = new Date();
  const time = now.toLocaleTimeString([], { hour12: false });
  for (const [tag, content] of Object.entries({ time, b: SIGNS[kind], i: who, span: text })) {
    const part = document.createElement(tag);
    part.textContent = content; // textContent: whatever arrives is shown, never run
    row.append(part);
  }
  row.querySelector("time").dateTime = now.toISOString();
  row.querySelector("b").ariaHidden = "true"; // the words beside it say the same
  log.prepend(row);
  while (log.children.length > KEPT) log.lastChild.remove();
  return row;
}

function showState(name, why, seconds) {
  const words = { connecting: "connecting …", waiting: `reconnecting in ${seconds} s`, refused: `refused: ${why}` };
  state.ariaLive = name === "waiting" && state.dataset.state === name ? "off" : "polite"; // a countdown is not read out
  state.dataset.state = name;
  state.textContent = words[name] ?? name;
  element("toggle").textContent = ["disconnected", "refused"].includes(name) ? "Connect" : "Disconnect";
  tellWhy(name, why);
  boxHadFocus ||= document.activeElement === box; // a disabled element loses the focus
  box.disabled = element("send").disabled = name !== "connected";
  if (!box.disabled && boxHadFocus) {
    boxHadFocus = false;
    if (document.hasFocus() && document.activeElement === document.body) box.focus();
  }
}

function tellWhy(name, why) {
  const again = name === "connected" && connectedBefore;
  if (again) show("system", "system", "connected again: messages sent meanwhile may be missing");
  else if (why && why !== lastWhy && why !== lastError) show(...(name === "refused" ? ["error", "refused"] : ["system", "system"]), why);
  lastWhy = name === "connected" ? "" : why || lastWhy; // the same reason is not told for each attempt
  connectedBefore ||= name === "connected";
  if (name === "connected") {
    lastError = "";
    expired = false;
    refreshSoon();
  }
}

function showMessage(data) {
  try {
    const { type, content } = JSON.parse(data) ?? {};
    if (type === "error") showError(String(content));
    else if (type === "jwt-expired") expired = true; // the close that follows decides what comes of it
    else if (type === "demo-token-accepted") return;
    else if (type === "system") show("system", "system", String(content));
    else if (type === "demo-message-receive") showReceived(JSON.parse(content)); // JSON inside JSON
    else throw new Error(`unknown type ${JSON.stringify(type)}`);
  } catch (error) {
    show("error", "not understood", `${error.message}: ${String(data).slice(0, 500)}`);
  }
}

function showReceived(message) {
  const { fromUserId, text, single } = message ?? {};
  if (!Number.isInteger(fromUserId) || typeof text !== "string") throw new Error("expected fromUserId and text");
  const who = fromUserId === session.userId ? "you" : names.get(fromUserId) ?? `user ${fromUserId}`;
  show(single ? "single" : "group", single ? `${who} to you alone` : `${who} to everyone`, text);
}

function showError(why) {
  lastError = why;
  const parcel = connection.complaint();
  if (parcel) giveBack([parcel], "not sent");
  show("error", "error", why);
}

function giveBack(parcels, fate) { // what was typed is never lost; what was typed since stands behind it
  for (const { row } of parcels.filter(({ row }) => row)) {
    row.dataset.kind = "error";
    row.querySelector("b").textContent = SIGNS.error;
    row.querySelector("i").textContent += `: ${fate}`;
  }
  box.value = [...parcels.map(({ text }) => text), box.value].filter(Boolean).join(" ");
}

function giveBackUnanswered(parcels) {
  giveBack(parcels, "unknown whether sent");
  const texts = parcels.map(({ text }) => `“${text}”`).join(", ");
  show("error", "no answer", `it is unknown whether this arrived, so it is back in the message box: ${texts}`);
}

const connection = new Connection(address, {
  closed,
  state: showState,
  message: showMessage,
  unanswered: giveBackUnanswered,
});

element("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (["disconnected", "refused"].includes(connection.state)) connection.connect();
  else connection.disconnect();
});

element("message").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  box.focus();
  if (!text) {
    show("error", "not sent", "the message is blank: type something first");
    return;
  }
  const content = JSON.stringify({ text, toUserId: Number(to.value) || null });
  // The server sends no copy of a message to one user, so it is listed here.
  const row = to.value ? show("single", `you to ${to.selectedOptions[0].text} alone`, text) : null;
  box.value = "";
  connection.send(JSON.stringify({ type: "demo-message-send", content }), { text, row });
});

addEventListener("online", () => connection.hurry());
document.addEventListener("visibilitychange", () => document.hidden || connection.hurry());

element("credentials").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("wrong").textContent = "";
  try {
    await session.signIn(element("username").value, element("password").value);
  } catch (error) {
    element("wrong").textContent = error.message;
    element("password").select();
    return;
  }
  element("password").value = "";
  boxHadFocus = true; // that is where one goes on
  showUser();
  connection.connect();
});

element("sign-out").addEventListener("click", () => {
  session.signOut();
  clearTimeout(refreshTimer);
  connection.refuse("sign in first");
  showUser();
  element("username").focus();
});

showUser();
if (session.access) connection.connect();
